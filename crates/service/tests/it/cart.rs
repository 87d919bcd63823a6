//! The shopping cart, by its six client requests.

use crate::drive::{Drive, code};
use quorate_service::{Cart, builtin};
use quorate_types::Response;
use serde_json::{Value, json};

fn cart() -> Drive<Cart> {
    Drive::new(Cart)
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn open(cart: &mut Drive<Cart>) -> String {
    let opened = cart.ask("POST", "/cart/sessions", "");
    assert_eq!(opened.status, 201);
    let path = opened.field("location").unwrap().to_owned();
    assert_eq!(path, format!("/cart/sessions/{}", body(&opened)["session"].as_str().unwrap()));
    path
}

fn left(cart: &mut Drive<Cart>, name: &str) -> u64 {
    let items = body(&cart.ask("GET", "/cart/items", ""));
    let item = items.as_array().unwrap().iter().find(|item| item["item"] == name).unwrap();
    item["left"].as_u64().unwrap()
}

#[test]
fn a_session_browses_adds_reviews_orders_and_is_closed() {
    let mut cart = cart();
    let session = open(&mut cart);
    let items = body(&cart.ask("GET", "/cart/items", ""));
    assert_eq!(items[0], json!({ "item": "tea", "price": 450, "left": 1_000_000 }));
    let add = |cart: &mut Drive<Cart>, what| cart.ask("POST", &format!("{session}/items"), what);
    add(&mut cart, r#"{"item":"tea","quantity":2}"#);
    let added = add(&mut cart, r#"{"item":"jam","quantity":1}"#);
    let held = json!({ "items": { "jam": 1, "tea": 2 }, "total": 1200 });
    assert_eq!((added.status, body(&added)), (200, held.clone()));
    assert_eq!(body(&cart.ask("GET", &session, "")), held);
    let ordered = cart.ask("POST", &format!("{session}/order"), "");
    let number = cart.index;
    let bill = json!({ "order": number, "items": { "jam": 1, "tea": 2 }, "total": 1200 });
    assert_eq!((ordered.status, body(&ordered)), (201, bill.clone()));
    assert_eq!(body(&cart.ask("GET", ordered.field("location").unwrap(), "")), bill);
    assert_eq!((left(&mut cart, "tea"), left(&mut cart, "jam")), (999_998, 999_999));
    assert_eq!(body(&cart.ask("GET", &session, "")), json!({ "items": {}, "total": 0 }));
    assert_eq!(cart.ask("DELETE", &session, "").status, 204);
    assert_eq!(code(&cart.ask("GET", &session, "")), "no-session");
    assert_eq!(code(&cart.ask("DELETE", &session, "")), "no-session");
}

#[test]
fn sessions_do_not_see_each_others_carts() {
    let mut cart = cart();
    let (first, second) = (open(&mut cart), open(&mut cart));
    assert_ne!(first, second);
    cart.ask("POST", &format!("{first}/items"), r#"{"item":"tea","quantity":1}"#);
    assert_eq!(body(&cart.ask("GET", &second, "")), json!({ "items": {}, "total": 0 }));
}

#[test]
fn an_order_takes_all_of_its_items_or_none() {
    let mut cart = cart();
    let (first, second) = (open(&mut cart), open(&mut cart));
    for session in [&first, &second] {
        cart.ask("POST", &format!("{session}/items"), r#"{"item":"honey","quantity":600}"#);
        cart.ask("POST", &format!("{session}/items"), r#"{"item":"tea","quantity":1}"#);
    }
    assert_eq!(cart.ask("POST", &format!("{first}/order"), "").status, 201);
    assert_eq!(code(&cart.ask("POST", &format!("{second}/order"), "")), "out-of-stock");
    assert_eq!((left(&mut cart, "honey"), left(&mut cart, "tea")), (400, 999_999));
    let kept = body(&cart.ask("GET", &second, ""));
    assert_eq!(kept["items"], json!({ "honey": 600, "tea": 1 }));
}

#[test]
fn what_makes_no_sense_is_a_problem_and_changes_nothing() {
    let mut cart = cart();
    let session = open(&mut cart);
    let items = format!("{session}/items");
    let state = cart.state.root();
    for content in [
        "",
        "{}",
        r#"{"item":"tea"}"#,
        r#"{"item":"tea","quantity":0}"#,
        r#"{"item":"tea","quantity":-1}"#,
        r#"{"item":"tea","quantity":1000001}"#,
        r#"{"item":"tea","quantity":1,"price":1}"#,
    ] {
        assert_eq!(code(&cart.ask("POST", &items, content)), "cart-malformed", "{content}");
    }
    let unknown = r#"{"item":"gold","quantity":1}"#;
    assert_eq!(code(&cart.ask("POST", &items, unknown)), "no-item");
    let of_nobody = "/cart/sessions/00/items";
    assert_eq!(code(&cart.ask("POST", of_nobody, unknown)), "no-session");
    assert_eq!(code(&cart.ask("POST", &format!("{session}/order"), "")), "cart-empty");
    assert_eq!(code(&cart.ask("GET", "/cart/orders/7", "")), "not-found");
    assert_eq!(code(&cart.ask("GET", "/cart/sessions/a/b/c", "")), "not-found");
    assert_eq!(code(&cart.ask("GET", "/kv/a", "")), "not-found");
    assert_eq!(code(&cart.ask("PUT", "/cart/items", "")), "method-not-allowed");
    assert_eq!(code(&cart.ask("GET", "/cart/sessions", "")), "method-not-allowed");
    assert_eq!(cart.state.root(), state);
}

#[test]
fn a_cart_has_a_bound() {
    let mut cart = cart();
    let items = format!("{}/items", open(&mut cart));
    let most = r#"{"item":"tea","quantity":1000000}"#;
    assert_eq!(cart.ask("POST", &items, most).status, 200);
    assert_eq!(code(&cart.ask("POST", &items, r#"{"item":"tea","quantity":1}"#)), "cart-full");
}

#[test]
fn cart_is_built_in() {
    assert!(builtin("cart").is_some());
}
