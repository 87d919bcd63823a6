//! A server that takes any request and does nothing: no order, no copies, no disk, no proof. What
//! HTTP alone costs, as the ceiling in comparisons.
//!
//! ```text
//! cargo run --release -p quorate-gateway --example plain -- 127.0.0.1:7600
//! listening on 127.0.0.1:7600
//! ```

use axum::{Router, body::Bytes, http::StatusCode};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7600".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    // It reads the content, as every other server must.
    let created = |_content: Bytes| async { StatusCode::CREATED };
    axum::serve(listener, Router::new().fallback(created)).await?;
    Ok(())
}
