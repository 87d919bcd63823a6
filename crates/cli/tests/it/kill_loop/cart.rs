//! Clients of the built-in shopping cart: what was ordered and what is left always add up.

use super::{
    load::{Acknowledged, World},
    random::Random,
};
use bytes::Bytes;
use quorate_client::{Call, Client};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What there is in the beginning, of each that clients order.
const STOCK: [(&str, u64); 3] = [("tea", 1_000_000), ("jam", 1_000_000), ("honey", 1_000)];

/// How many orders are asked for again in the end.
const RECALLED: usize = 50;

/// What clients know of their orders.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// By the order's number, what its client was answered.
    answered: BTreeMap<u64, Bytes>,
    /// How many of an item were ordered for sure.
    ordered: BTreeMap<&'static str, u64>,
    /// How many may have been: nobody knows what came of these orders.
    open: BTreeMap<&'static str, u64>,
}

impl Orders {
    fn with<T>(&self, edit: impl FnOnce(&mut Book) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One client: one session after the other, each with an order.
pub(crate) async fn shop(world: &World, client: &Client, random: &mut Random) {
    let Some(opened) = ask(world, client, "POST", "/cart/sessions", Value::Null).await else {
        return;
    };
    let session = parsed(&opened)["session"].as_str().expect("a session").to_owned();
    let at = |rest: &str| format!("/cart/sessions/{session}{rest}");
    let item = random.one_of(&STOCK).0;
    let quantity = 1 + random.below(5);
    let wanted = json!({ "item": item, "quantity": quantity });
    let added = ask(world, client, "POST", &at("/items"), wanted).await;
    if added.is_none_or(|added| added.status != 200) {
        return;
    }
    world.orders.with(|book| *book.open.entry(item).or_default() += quantity);
    let Some(answer) = ask(world, client, "POST", &at("/order"), Value::Null).await else {
        return;
    };
    world.orders.with(|book| {
        *book.open.entry(item).or_default() -= quantity;
        if answer.status == 201 {
            *book.ordered.entry(item).or_default() += quantity;
            let bill = parsed(&answer);
            assert_eq!(bill["items"], json!({ item: quantity }), "{answer:?}");
            let number = bill["order"].as_u64().expect("a number");
            let before = book.answered.insert(number, answer.body.clone());
            assert_eq!(before, None, "order {number} was given twice");
        } else {
            // Only what runs out is refused.
            assert_eq!((answer.status, item), (409, "honey"), "{answer:?}");
        }
    });
    let closed = ask(world, client, "DELETE", &at(""), Value::Null).await;
    assert!(closed.is_none_or(|closed| closed.status == 204));
}

async fn ask(
    world: &World,
    client: &Client,
    method: &str,
    path: &str,
    content: Value,
) -> Option<Acknowledged> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let body = if content.is_null() { String::new() } else { content.to_string() };
    let call =
        Call { method: method.to_owned(), body: body.into(), ..Call::get(path.to_owned(), "?") };
    let sent = client.prepare(call).expect("a request that can be sent");
    world.insist(client, &sent).await
}

fn parsed(answer: &Acknowledged) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// What is left is what there was without what was ordered, and orders are what they were. Returns
/// how many items were ordered.
pub(crate) async fn stock_adds_up(world: &World) -> u64 {
    let client = world.client(0);
    let answer = client.send(Call::get("/cart/items".to_owned(), "?")).await.expect("an answer");
    let items: Vec<Value> = serde_json::from_slice(&answer.response.body).expect("JSON");
    let mut sum = 0;
    for (name, stock) in STOCK {
        let item = items.iter().find(|item| item["item"] == name).expect("each item");
        let gone = stock - item["left"].as_u64().expect("a number");
        let known = |of: &BTreeMap<&str, u64>| of.get(name).copied().unwrap_or(0);
        let (ordered, open) = world.orders.with(|book| (known(&book.ordered), known(&book.open)));
        assert!((ordered..=ordered + open).contains(&gone), "{name}: {gone}, {ordered} + {open}");
        sum += ordered;
    }
    let orders = world.orders.with(|book| book.answered.clone());
    for (number, body) in orders.iter().step_by(orders.len() / RECALLED + 1) {
        let call = Call::get(format!("/cart/orders/{number}"), "?");
        let answer = client.send(call).await.expect("an answer");
        assert_eq!((answer.response.status, &answer.response.body), (200, body), "order {number}");
    }
    sum
}
