//! The service room from outside: the map, its chunks, the key-value service, the example.

mod chunks;
mod drive;
mod example;
mod kv;
mod kv_model;
mod pages;
mod speed;
mod state;
