//! What a user writes: the Service trait, its context and state; built-in services.
