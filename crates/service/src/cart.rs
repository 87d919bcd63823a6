//! The built-in shopping cart: the running example of Byzantine fault tolerance for sessions
//! (Chai, Zhang and Zhao, *A lightweight Byzantine fault tolerance framework for session-oriented
//! multi-tiered applications*, section 2), with its six client requests.
//!
//! | request | answers |
//! |---|---|
//! | `POST /cart/sessions` | 201 with `{"session":ID}` and its `Location` |
//! | `GET /cart/items` | 200: what there is, with prices in cents and what is left |
//! | `POST /cart/sessions/ID/items` | adds `{"item":NAME,"quantity":N}`; 200 with the cart |
//! | `GET /cart/sessions/ID` | 200 with the cart |
//! | `POST /cart/sessions/ID/order` | 201 with the order, whose items leave the stock; or 409 |
//! | `DELETE /cart/sessions/ID` | 204: the session is over, and its cart gone |
//!
//! `GET /cart/orders/N` gives order N again. A session is whoever knows its ID: it comes from the
//! agreed randomness, which a client's own gateway could have chosen, and whoever reads the log's
//! exchanges can see it. It is an example, not a shop.
//!
//! - **Stock** begins with a million of each item, and a thousand of the last. An order takes all
//!   of its items or none: 409 `out-of-stock` changes nothing. So what is left and what was ordered
//!   always add up, which is what tests look at.
//! - **Carts** hold at most 1,000,000 of an item.
//! - **Errors** are problem documents: `not-found`, `method-not-allowed`, `no-session`, `no-item`,
//!   `cart-malformed`, `cart-empty`, `cart-full`, `out-of-stock`.

use crate::{Service, State, context::Context};
use quorate_types::{Request, Response};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Write as _};

/// The service. It has no state of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cart;

/// The most of one item in one cart.
pub const QUANTITY_MAX: u64 = 1_000_000;

/// Names, prices in cents, and how many there are in the beginning.
const CATALOGUE: [(&str, u64, u64); 6] = [
    ("tea", 450, 1_000_000),
    ("coffee", 720, 1_000_000),
    ("scones", 120, 1_000_000),
    ("jam", 300, 1_000_000),
    ("butter", 280, 1_000_000),
    ("honey", 950, 1_000),
];

impl Service for Cart {
    fn handle(&mut self, cx: &mut Context<'_>, request: &Request) -> Response {
        let answer = Operation::parse(request).and_then(|operation| match operation {
            Operation::Open => Ok(open(cx)),
            Operation::Browse => Ok(browse(cx.state())),
            Operation::Add(session, wanted) => add(cx.state(), session, &wanted),
            Operation::Review(session) => review(cx.state(), session),
            Operation::Order(session) => order(cx, session),
            Operation::Close(session) => close(cx.state(), session),
            Operation::Recall(number) => recall(cx.state(), number),
        });
        // Both sides are answers; `Err` is only the early way out.
        answer.unwrap_or_else(|problem| problem)
    }
}

/// What a request asks for.
enum Operation<'a> {
    Open,
    Browse,
    Add(&'a str, Wanted),
    Review(&'a str),
    Order(&'a str),
    Close(&'a str),
    Recall(&'a str),
}

/// The content of a request to add something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    item: String,
    quantity: u64,
}

/// What a client sees of its cart, and of an order.
#[derive(Deserialize, Serialize)]
struct Bill {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<u64>,
    /// How many of each.
    items: BTreeMap<String, u64>,
    /// In cents.
    total: u64,
}

impl<'a> Operation<'a> {
    fn parse(request: &'a Request) -> Result<Self, Response> {
        let rest = request.path.strip_prefix("/cart/").ok_or_else(no_such_path)?;
        let path: Vec<&str> = rest.split('/').collect();
        match (path.as_slice(), request.method.as_str()) {
            (["sessions"], "POST") => Ok(Self::Open),
            (["items"], "GET" | "HEAD") => Ok(Self::Browse),
            (["sessions", session], "GET" | "HEAD") => Ok(Self::Review(session)),
            (["sessions", session], "DELETE") => Ok(Self::Close(session)),
            (["sessions", session, "order"], "POST") => Ok(Self::Order(session)),
            (["sessions", session, "items"], "POST") => {
                let wanted: Wanted =
                    serde_json::from_slice(&request.body).map_err(|_| malformed())?;
                let some = (1..=QUANTITY_MAX).contains(&wanted.quantity);
                if some { Ok(Self::Add(session, wanted)) } else { Err(malformed()) }
            }
            (["orders", number], "GET" | "HEAD") => Ok(Self::Recall(number)),
            (["items" | "sessions"] | ["sessions", _] | ["orders", _], _)
            | (["sessions", _, "items" | "order"], _) => {
                Err(Response::problem(405, "method-not-allowed", "the path takes other methods"))
            }
            _ => Err(no_such_path()),
        }
    }
}

fn open(cx: &mut Context<'_>) -> Response {
    let random = cx.rng().bytes::<16>();
    let session = random.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    save(cx.state(), &session_key(&session), &BTreeMap::<String, u64>::new());
    let location = format!("/cart/sessions/{session}");
    json(201, &serde_json::json!({ "session": session })).with_field("location", location)
}

fn browse(state: &State) -> Response {
    let items = CATALOGUE.iter().map(|(name, price, _)| {
        serde_json::json!({ "item": name, "price": price, "left": left(state, name) })
    });
    json(200, &serde_json::Value::from_iter(items))
}

fn add(state: &mut State, session: &str, wanted: &Wanted) -> Result<Response, Response> {
    let mut items = items_of(state, session)?;
    if CATALOGUE.iter().all(|(name, ..)| *name != wanted.item) {
        return Err(Response::problem(404, "no-item", "there is no item of this name"));
    }
    let held = items.entry(wanted.item.clone()).or_insert(0);
    *held = held.saturating_add(wanted.quantity);
    if *held > QUANTITY_MAX {
        return Err(Response::problem(409, "cart-full", "a cart holds 1000000 of an item at most"));
    }
    save(state, &session_key(session), &items);
    Ok(json(200, &bill(None, items)))
}

fn review(state: &State, session: &str) -> Result<Response, Response> {
    Ok(json(200, &bill(None, items_of(state, session)?)))
}

fn order(cx: &mut Context<'_>, session: &str) -> Result<Response, Response> {
    let number = cx.index().0;
    let state = cx.state();
    let items = items_of(state, session)?;
    if items.is_empty() {
        return Err(Response::problem(409, "cart-empty", "there is nothing in the cart to order"));
    }
    if items.iter().any(|(name, quantity)| left(state, name) < *quantity) {
        return Err(Response::problem(409, "out-of-stock", "there are not so many left"));
    }
    // The three updates of the paper: stock, order, cart.
    for (name, quantity) in &items {
        let left = left(state, name).saturating_sub(*quantity);
        state.put(stock_key(name), left.to_be_bytes().to_vec());
    }
    let bill = bill(Some(number), items);
    save(state, &order_key(&number.to_string()), &bill);
    save(state, &session_key(session), &BTreeMap::<String, u64>::new());
    Ok(json(201, &bill).with_field("location", format!("/cart/orders/{number}")))
}

fn close(state: &mut State, session: &str) -> Result<Response, Response> {
    if state.delete(session_key(session)) { Ok(Response::new(204)) } else { Err(no_session()) }
}

fn recall(state: &State, number: &str) -> Result<Response, Response> {
    let order: Option<Bill> = load(state, &order_key(number));
    let missing = || Response::problem(404, "not-found", "there is no order of this number");
    Ok(json(200, &order.ok_or_else(missing)?))
}

fn session_key(session: &str) -> String {
    format!("session/{session}")
}

fn stock_key(name: &str) -> String {
    format!("stock/{name}")
}

fn order_key(number: &str) -> String {
    format!("order/{number}")
}

fn items_of(state: &State, session: &str) -> Result<BTreeMap<String, u64>, Response> {
    load(state, &session_key(session)).ok_or_else(no_session)
}

/// How many of an item there are.
fn left(state: &State, name: &str) -> u64 {
    let stored = state.get(stock_key(name));
    let stored = stored.and_then(|bytes| bytes[..].try_into().ok().map(u64::from_be_bytes));
    let first = || CATALOGUE.iter().find(|(item, ..)| *item == name).map_or(0, |(.., left)| *left);
    stored.unwrap_or_else(first)
}

fn bill(order: Option<u64>, items: BTreeMap<String, u64>) -> Bill {
    let cost = |(name, price, _): &(&str, u64, u64)| {
        items.get(*name).map_or(0, |quantity| price.saturating_mul(*quantity))
    };
    let total = CATALOGUE.iter().map(cost).fold(0, u64::saturating_add);
    Bill { order, items, total }
}

fn load<T: DeserializeOwned>(state: &State, key: &str) -> Option<T> {
    serde_json::from_slice(state.get(key)?).ok()
}

fn save(state: &mut State, key: &str, value: &impl Serialize) {
    // Maps of names and numbers have a JSON form.
    state.put(key, serde_json::to_vec(value).unwrap_or_default());
}

fn json(status: u16, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    Response::new(status).with_body("application/json", body)
}

fn no_such_path() -> Response {
    Response::problem(404, "not-found", "there are /cart/sessions, /cart/items and /cart/orders/N")
}

fn no_session() -> Response {
    Response::problem(404, "no-session", "no open session has this id")
}

fn malformed() -> Response {
    Response::problem(
        400,
        "cart-malformed",
        "the content must be {\"item\":NAME,\"quantity\":N}, with N from 1 to 1000000",
    )
}
