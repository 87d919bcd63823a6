//! A client's own signature over its request.

use crate::sealed::{public, request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, Verifier as _};
use quorate_proof::{created_s, parse_signature, signature_base, signature_params};
use quorate_types::PublicKey;

fn key() -> PublicKey {
    public(&SigningKey::from_bytes(&[5; 32]))
}

fn parse(params: &str) -> Result<(), &'static str> {
    let signature = format!("sig1=:{}:", STANDARD.encode([7; 64]));
    let parsed = parse_signature(&format!("sig1={params}"), &signature);
    parsed.map(|_| ()).map_err(|error| error.code())
}

#[test]
fn what_our_clients_sign_reads_back_and_verifies() {
    let signer = SigningKey::from_bytes(&[5; 32]);
    let params = signature_params(1_763_658_123, &key());
    let placeholder = format!("s=:{}:", STANDARD.encode([0; 64]));
    let draft = parse_signature(&format!("s={params}"), &placeholder).unwrap();
    let base = signature_base(&request(), "shop.example", &draft).unwrap();
    let signature = format!("s=:{}:", STANDARD.encode(signer.sign(base.as_bytes()).to_bytes()));
    let parsed = parse_signature(&format!("s={params}"), &signature).unwrap();
    assert_eq!((parsed.key, created_s(&parsed)), (key(), Some(1_763_658_123)));
    let again = signature_base(&request(), "shop.example", &parsed).unwrap();
    let bytes = ed25519_dalek::Signature::from_bytes(&parsed.signature.0);
    assert!(signer.verifying_key().verify(again.as_bytes(), &bytes).is_ok());
}

#[test]
fn the_base_is_that_of_rfc_9421() {
    let params = signature_params(1_763_658_123, &key());
    let signature = format!("s=:{}:", STANDARD.encode([0; 64]));
    let parsed = parse_signature(&format!("s={params}"), &signature).unwrap();
    let expected = format!(
        "\"@method\": POST
\"@authority\": shop.example
\"@path\": /orders
\"@query\": ?
\"content-digest\": sha-256=:lA1Xqqzu8iw5bx+5pEvpcHTlhRBudvuWiS797onPSno=:
\"idempotency-key\": \"8e03978e-40d5-43e8-bc93-6894a57f9324\"
\"@signature-params\": (\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \
\"idempotency-key\");created=1763658123;keyid=\"{}\";alg=\"ed25519\"",
        STANDARD.encode(key().0)
    );
    assert_eq!(signature_base(&request(), "shop.example", &parsed).as_deref(), Ok(&expected[..]));
}

#[test]
fn components_come_in_any_order_and_may_be_more() {
    let right = signature_params(1, &key());
    let more = right.replace("(\"@method\"", "(\"content-type\" \"@method\"");
    assert_eq!(parse(&more), Ok(()));
    let swapped = right.replace("\"@method\" \"@authority\"", "\"@authority\" \"@method\"");
    assert_eq!(parse(&swapped), Ok(()));
    let signature = format!("s=:{}:", STANDARD.encode([0; 64]));
    let parsed = parse_signature(&format!("s={more}"), &signature).unwrap();
    let base = signature_base(&request(), "shop.example", &parsed).unwrap();
    assert!(base.starts_with("\"content-type\": application/json\n\"@method\": POST\n"));
    let mut other = request();
    other.fields.remove(0);
    let error = signature_base(&other, "shop.example", &parsed).map_err(|error| error.code());
    assert_eq!(error, Err("signature-component"));
}

#[test]
fn parameters_come_in_any_order_and_may_hold_nonce_and_tag() {
    let right = signature_params(1, &key());
    assert_eq!(parse(&format!("{right};nonce=\"a;\\\"b\";tag=\"app\"")), Ok(()));
    let swapped = right.replace(";alg=\"ed25519\"", "").replace(");", ");alg=\"ed25519\";");
    assert_eq!(parse(&swapped), Ok(()));
}

#[test]
fn every_needed_component_is_needed() {
    for name in ["@method", "@authority", "@path", "@query", "content-digest", "idempotency-key"] {
        let params = signature_params(1, &key());
        let without = params.replace(&format!("\"{name}\" "), "");
        let without = without.replace(&format!(" \"{name}\""), "");
        assert_ne!(params, without);
        assert_eq!(parse(&without), Err("signature-uncovered"), "{name}");
    }
}

#[test]
fn parameters_have_one_spelling() {
    let right = signature_params(1, &key());
    let keyid = STANDARD.encode(key().0);
    for (from, to, code) in [
        ("(", "", "signature-parameters"),
        ("(", "( ", "signature-component"),
        ("\"@method\" ", "\"@method\"  ", "signature-component"),
        ("\"@method\" ", "\"@method\";req ", "signature-component"),
        ("\"@method\" ", "\"@method\" \"@method\" ", "signature-parameters"),
        ("\"@method\" ", "\"@method\" \"@status\" ", "signature-component"),
        ("\"@method\" ", "\"@method\" \"Accept\" ", "signature-component"),
        (";created", "; created", "signature-parameters"),
        ("created=1", "created=01", "signature-parameters"),
        ("created=1", "created=-1", "signature-parameters"),
        ("created=1", "created=\"1\"", "signature-parameters"),
        ("created=1", "created=1;created=1", "signature-parameters"),
        ("created=1;", "", "signature-parameters"),
        ("created=1", "created=1;expires=2", "signature-parameters"),
        (";alg=\"ed25519\"", "", "signature-parameters"),
        ("ed25519", "rsa-pss-sha512", "signature-algorithm"),
        (&keyid, "AAAA", "signature-keyid"),
        (&keyid, "my key", "signature-keyid"),
        (";alg=\"ed25519\"", ";alg=\"ed25519\";", "signature-parameters"),
        (";alg=\"ed25519\"", ";alg=\"ed25519", "signature-parameters"),
        (";alg=\"ed25519\"", ";alg=\"ed25519\", s2=()", "signature-parameters"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(right, wrong, "{from}");
        assert_eq!(parse(&wrong), Err(code), "{wrong}");
    }
    let long = format!("{right};nonce=\"{}\"", "n".repeat(5000));
    assert_eq!(parse(&long), Err("signature-parameters"));
}

#[test]
fn a_signature_stands_alone_under_its_label() {
    let params = signature_params(1, &key());
    let value = format!(":{}:", STANDARD.encode([7; 64]));
    let short = format!(":{}:", STANDARD.encode([7; 63]));
    for (input, signature) in [
        (format!("a={params}"), format!("b={value}")),
        (format!("A={params}"), format!("A={value}")),
        (format!("={params}"), format!("={value}")),
        (params.clone(), value.clone()),
        (format!("a={params}"), format!("a={short}")),
        (format!("a={params}"), format!("a={value}, b={value}")),
        (format!("a={params}"), format!("a={value};x")),
        (format!("a={params}"), "a=".to_owned()),
    ] {
        let found = parse_signature(&input, &signature).map_err(|error| error.code());
        assert_eq!(found, Err("signature-fields"), "{input} {signature}");
    }
}

#[test]
fn parameters_of_another_key_than_the_signature_names_are_refused() {
    let params = signature_params(1, &key());
    let signature = format!("s=:{}:", STANDARD.encode([0; 64]));
    let mut parsed = parse_signature(&format!("s={params}"), &signature).unwrap();
    parsed.key = PublicKey([1; 32]);
    let error = signature_base(&request(), "shop.example", &parsed).map_err(|error| error.code());
    assert_eq!(error, Err("signature-keyid"));
    parsed.params = "()".to_owned();
    assert_eq!(created_s(&parsed), None);
}
