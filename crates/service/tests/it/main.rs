//! The service room from outside: the map, its chunks, the built-in services, the example.

mod cart;
mod chunks;
mod drive;
mod example;
mod kv;
mod kv_model;
mod pages;
mod speed;
mod state;
