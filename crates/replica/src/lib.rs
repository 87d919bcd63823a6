//! The pipeline around one ordering engine, sans-IO.
