//! Stories.
use super::*;
