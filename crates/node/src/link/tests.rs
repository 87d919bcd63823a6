use super::*;
use quorate_crypto::{Role, SecretKey};
use quorate_types::{Chain, Digest};
use tokio::{
    io::AsyncReadExt as _,
    sync::mpsc::{Receiver, Sender, channel},
};

const SOON: Duration = Duration::from_secs(5);

/// The policy that all members of a chain were made for.
const POLICY: Digest = Digest([7; 32]);

/// Passes on what arrives.
struct Collect(Sender<(ReplicaId, Bytes)>);

impl Receive for Collect {
    async fn receive(&self, from: ReplicaId, bytes: Bytes) -> io::Result<()> {
        self.0.send((from, bytes)).await.map_err(io::Error::other)
    }

    fn link(&self, _peer: ReplicaId, _up: bool) {}
}

struct Node {
    links: Links,
    received: Receiver<(ReplicaId, Bytes)>,
}

impl Node {
    async fn expect(&mut self) -> (ReplicaId, Bytes) {
        timeout(SOON, self.received.recv()).await.expect("in time").expect("open")
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(Role::Tls, &[seed; 32])
}

fn chain(text: &str) -> Chain {
    Chain::parse(text).unwrap()
}

fn ours() -> Chain {
    chain("0123456789abcdef")
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn node(listener: TcpListener, chain: Chain, key: &SecretKey, peers: &[Peer]) -> Node {
    let (sender, received) = channel(1024);
    let identity = Identity::new(chain, &POLICY, key).unwrap();
    let receive = Arc::new(Collect(sender));
    let links = Links::start(&Handle::current(), listener, &identity, peers, receive).unwrap();
    Node { links, received }
}

fn peer(id: u16, address: &str, key: &SecretKey) -> Peer {
    Peer { id: ReplicaId(id), address: address.to_owned(), key: key.public() }
}

/// Two nodes that know each other.
async fn pair() -> (Node, Node) {
    let ((a, at_a), (b, at_b)) = (listener().await, listener().await);
    let a = node(a, ours(), &key(0), &[peer(1, &at_b, &key(1))]);
    let b = node(b, ours(), &key(1), &[peer(0, &at_a, &key(0))]);
    (a, b)
}

#[tokio::test]
async fn messages_arrive_in_order_from_whom_they_came() {
    let (mut a, mut b) = pair().await;
    for number in 0_u32..100 {
        a.links.send(ReplicaId(1), number.to_be_bytes().to_vec().into());
    }
    b.links.send(ReplicaId(0), Bytes::from_static(b"back"));
    for number in 0_u32..100 {
        let (from, bytes) = b.expect().await;
        assert_eq!((from, &bytes[..]), (ReplicaId(0), &number.to_be_bytes()[..]));
    }
    assert_eq!(a.expect().await, (ReplicaId(1), Bytes::from_static(b"back")));
    assert!(a.links.states().all(|state| state.up && state.dropped == 0));
}

#[tokio::test]
async fn the_largest_frame_arrives_whole() {
    let (a, mut b) = pair().await;
    let large: Bytes = (0..FRAME_BYTES_MAX).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
    a.links.send(ReplicaId(1), large.clone());
    assert!(b.expect().await.1 == large);
}

#[tokio::test]
async fn a_peer_that_comes_late_or_again_is_found() {
    let ((a, at_a), (b, at_b)) = (listener().await, listener().await);
    drop(b);
    let mut a = node(a, ours(), &key(0), &[peer(1, &at_b, &key(1))]);
    a.links.send(ReplicaId(1), Bytes::from_static(b"early"));
    sleep(Duration::from_millis(100)).await;
    let again = TcpListener::bind(&at_b).await.unwrap();
    let mut b = node(again, ours(), &key(1), &[peer(0, &at_a, &key(0))]);
    assert_eq!(b.expect().await.1, &b"early"[..]);
    b.links.send(ReplicaId(0), Bytes::from_static(b"hello"));
    assert_eq!(a.expect().await.1, &b"hello"[..]);
}

/// Whether a link from such a dialler to such a listener carries anything.
async fn carries(dialler: (Chain, &SecretKey), pinned: &SecretKey, listening: Chain) -> bool {
    let (b, at_b) = listener().await;
    let (a, at_a) = listener().await;
    let mut b = node(b, listening, &key(1), &[peer(0, &at_a, &key(0))]);
    let a = node(a, dialler.0, dialler.1, &[peer(1, &at_b, pinned)]);
    a.links.send(ReplicaId(1), Bytes::from_static(b"let me in"));
    let received = timeout(Duration::from_millis(500), b.received.recv()).await;
    matches!(received, Ok(Some(_)))
}

#[tokio::test]
async fn only_members_of_the_same_chain_are_heard() {
    assert!(carries((ours(), &key(0)), &key(1), ours()).await, "the control");
    assert!(!carries((ours(), &key(9)), &key(1), ours()).await, "a key of no member dialled");
    assert!(!carries((ours(), &key(0)), &key(9), ours()).await, "another key was pinned");
    let other = chain("fedcba9876543210");
    assert!(!carries((other, &key(0)), &key(1), ours()).await, "another chain");
}

/// What came of a handshake, at the one who dialled and the one who accepted.
async fn shake(dialler: &Identity, acceptor: &Identity) -> (Option<io::Error>, Option<io::Error>) {
    let (listener, address) = listener().await;
    let connector = dialler.connector(ReplicaId(1), key(1).public()).unwrap();
    let acceptor = acceptor.acceptor(vec![(ReplicaId(0), key(0).public())]).unwrap();
    let dialling = async { connector.connect(TcpStream::connect(&address).await.unwrap()).await };
    let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    // Neither end is dropped before both have ended.
    let (dialled, accepted) = tokio::join!(dialling, accepting);
    (dialled.err(), accepted.err())
}

#[tokio::test]
async fn a_member_that_was_made_for_another_policy_is_refused_by_a_code_of_its_own() {
    let acceptor = Identity::new(ours(), &POLICY, &key(1)).unwrap();
    let same = Identity::new(ours(), &POLICY, &key(0)).unwrap();
    let (dialled, accepted) = shake(&same, &acceptor).await;
    assert!(dialled.is_none() && accepted.is_none(), "{dialled:?} {accepted:?}");

    let other = Identity::new(ours(), &Digest([8; 32]), &key(0)).unwrap();
    let (dialled, accepted) = shake(&other, &acceptor).await;
    assert_eq!(code_of(&dialled.unwrap(), "link-refused"), "link-policy-differs");
    assert_eq!(code_of(&accepted.unwrap(), STRANGER), "link-policy-differs");

    let foreign = Identity::new(chain("fedcba9876543210"), &POLICY, &key(0)).unwrap();
    let (dialled, accepted) = shake(&foreign, &acceptor).await;
    assert_eq!(code_of(&dialled.unwrap(), "link-refused"), "link-refused");
    assert_eq!(code_of(&accepted.unwrap(), STRANGER), STRANGER);
}

#[tokio::test]
async fn a_member_is_heard_under_its_own_number_only() {
    // Replica 2 dials; its key, and not what it would like to be, says who it is.
    let (b, at_b) = listener().await;
    let nowhere = "127.0.0.1:9";
    let members = [peer(0, nowhere, &key(0)), peer(2, nowhere, &key(2))];
    let mut b = node(b, ours(), &key(1), &members);
    let (c, _) = listener().await;
    let c = node(c, ours(), &key(2), &[peer(1, &at_b, &key(1))]);
    c.links.send(ReplicaId(1), Bytes::from_static(b"x"));
    assert_eq!(b.expect().await.0, ReplicaId(2));
}

#[tokio::test]
async fn a_dialler_that_names_no_protocol_is_refused() {
    let (b, at_b) = listener().await;
    let mut b = node(b, ours(), &key(1), &[peer(0, "127.0.0.1:9", &key(0))]);
    let identity = Identity::without_alpn(&key(0));
    let connector = identity.connector(ReplicaId(1), key(1).public()).unwrap();
    let stream = TcpStream::connect(&at_b).await.unwrap();
    // The handshake itself may pass; nothing that follows is taken.
    if let Ok(mut link) = connector.connect_unchecked(stream).await {
        let mut frame = Vec::new();
        put_frame(&mut frame, b"hello");
        let _ = link.write_all(&frame).await;
    }
    assert!(timeout(Duration::from_millis(300), b.received.recv()).await.is_err());
}

#[tokio::test]
async fn garbage_and_plain_text_end_the_connection_and_nothing_else() {
    let (mut a, b) = pair().await;
    let address = {
        let (c, at_c) = listener().await;
        let _keep = node(c, ours(), &key(1), &[peer(0, "127.0.0.1:9", &key(0))]);
        at_c
    };
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 4096], &[0x16, 3, 1]] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // An alert may come; the end does, at the latest when the handshake takes too long.
        let ended = timeout(HANDSHAKE_MAX + SOON, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{garbage:?} is still connected");
    }
    b.links.send(ReplicaId(0), Bytes::from_static(b"still here"));
    assert_eq!(a.expect().await.1, &b"still here"[..]);
}

/// A raw authenticated link to `b`.
async fn raw(at: &str) -> impl AsyncRead + AsyncWrite + Unpin {
    let identity = Identity::new(ours(), &POLICY, &key(0)).unwrap();
    let connector = identity.connector(ReplicaId(1), key(1).public()).unwrap();
    connector.connect(TcpStream::connect(at).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_oversized_frame_of_a_member_ends_its_link_and_the_next_one_works() {
    let (b, at_b) = listener().await;
    let mut b = node(b, ours(), &key(1), &[peer(0, "127.0.0.1:9", &key(0))]);
    let mut link = raw(&at_b).await;
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    link.write_all(&length.to_be_bytes()).await.unwrap();
    let mut end = Vec::new();
    let _ = timeout(SOON, link.read_to_end(&mut end)).await.expect("the link ends");
    let mut link = raw(&at_b).await;
    let mut frame = Vec::new();
    put_frame(&mut frame, b"well");
    link.write_all(&frame).await.unwrap();
    link.flush().await.unwrap();
    assert_eq!(b.expect().await.1, &b"well"[..]);
}

#[tokio::test]
async fn a_second_link_of_a_member_replaces_the_first() {
    let (b, at_b) = listener().await;
    let mut b = node(b, ours(), &key(1), &[peer(0, "127.0.0.1:9", &key(0))]);
    let (mut first, mut second) = (raw(&at_b).await, raw(&at_b).await);
    let mut frame = Vec::new();
    put_frame(&mut frame, b"second");
    second.write_all(&frame).await.unwrap();
    second.flush().await.unwrap();
    assert_eq!(b.expect().await.1, &b"second"[..]);
    let mut end = Vec::new();
    let _ = timeout(SOON, first.read_to_end(&mut end)).await.expect("the first link ends");
}

#[tokio::test]
async fn strangers_who_hold_handshakes_open_do_not_keep_a_member_out() {
    let (b, at_b) = listener().await;
    let mut b = node(b, ours(), &key(1), &[peer(0, "127.0.0.1:9", &key(0))]);
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stranger = TcpStream::connect(&at_b).await.unwrap();
        // The beginning of a handshake whose rest never comes.
        stranger.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        held.push(stranger);
    }
    let begun = Instant::now();
    let mut link = raw(&at_b).await;
    let mut frame = Vec::new();
    put_frame(&mut frame, b"member");
    link.write_all(&frame).await.unwrap();
    link.flush().await.unwrap();
    assert_eq!(b.expect().await.1, &b"member"[..]);
    // Well before the strangers' time is over.
    assert!(begun.elapsed() < HANDSHAKE_MAX / 3, "{:?}", begun.elapsed());
    // All but a share of them are gone already, the others with their time.
    let mut first = held.remove(0);
    let mut end = Vec::new();
    let _ = timeout(HANDSHAKE_MAX / 3, first.read_to_end(&mut end)).await.expect("given up");
    let mut last = held.pop().unwrap();
    let waited = timeout(HANDSHAKE_MAX / 3, last.read_to_end(&mut end)).await;
    assert!(waited.is_err(), "one of the newest was given up");
    let _ = timeout(SOON, last.read_to_end(&mut end)).await.expect("its time is over");
}
