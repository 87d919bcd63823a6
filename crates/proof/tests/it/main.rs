//! The proof room from outside.

mod example;
