//! A virtual-time network around the production pipeline.
