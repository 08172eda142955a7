//! Signed JSON.
//!
//! Specification: appendices, "Signing JSON". A signature covers the canonical form of the object
//! without `signatures` and `unsigned`, and with every other member, known to us or not: it is
//! therefore checked over the object that was received, never over one rebuilt from known fields.

use vodozemac::{Ed25519PublicKey, Ed25519Signature};

use super::{
    canonical_json::{Json, Numbers, Object, canonical_object},
    keys,
};
use crate::error::{Error, Kind, Result};

/// The bytes a signature of `object` covers.
///
/// # Errors
/// [`Kind::Json`] when a number is not written canonically.
pub fn signed_bytes(object: &Object) -> Result<String> {
    let mut object = object.clone();
    object.remove("signatures");
    object.remove("unsigned");
    canonical_object(&object, Numbers::Canonical)
}

/// Adds a signature of `entity` under `key_id` (`ed25519:…`) to `object`, beside those it has.
///
/// # Errors
/// [`Kind::Json`] when the object cannot be signed.
pub fn sign(
    object: &mut Object,
    entity: &str,
    key_id: &str,
    sign: impl Fn(&[u8]) -> Ed25519Signature,
) -> Result<()> {
    let signature = sign(signed_bytes(object)?.as_bytes()).to_base64();
    let signatures = object.entry("signatures".into()).or_insert(Json::Object(Object::new()));
    let Json::Object(signatures) = signatures else {
        return Err(Error::new(Kind::Json, "'signatures' must be an object."));
    };
    let entity = signatures.entry(entity.into()).or_insert(Json::Object(Object::new()));
    let Json::Object(entity) = entity else {
        return Err(Error::new(Kind::Json, "An entry of 'signatures' must be an object."));
    };
    entity.insert(key_id.into(), Json::String(signature));
    Ok(())
}

/// Checks the signature of `entity` under `key_id` with `key`.
///
/// # Errors
/// [`Kind::Signature`] when it is missing or does not hold, [`Kind::Json`] when the object is not
/// canonical, [`Kind::Encoding`] when the signature is not 64 bytes of base64.
pub fn verify(object: &Object, entity: &str, key_id: &str, key: Ed25519PublicKey) -> Result<()> {
    let signature = signature_of(object, entity, key_id)?;
    key.verify(signed_bytes(object)?.as_bytes(), &signature)
        .map_err(|_| Error::new(Kind::Signature, format!("The {key_id} signature did not verify.")))
}

fn signature_of(object: &Object, entity: &str, key_id: &str) -> Result<Ed25519Signature> {
    let refuse = |message: String| Error::new(Kind::Signature, message);
    let signatures = object
        .get("signatures")
        .and_then(Json::as_object)
        .filter(|signatures| !signatures.is_empty())
        .ok_or_else(|| refuse("The object is unsigned.".into()))?;
    let of_entity = signatures
        .get(entity)
        .and_then(Json::as_object)
        .ok_or_else(|| refuse(format!("There are no signatures from {entity}.")))?;
    let text = of_entity
        .get(key_id)
        .and_then(Json::as_str)
        .ok_or_else(|| refuse(format!("There is no {key_id} signature.")))?;
    keys::signature(text)
}

#[cfg(test)]
mod tests {
    use vodozemac::Ed25519SecretKey;

    use super::*;

    // Appendices, "Cryptographic Test Vectors".
    // (Its last character there is "1", whose two unused bits are set; "0" is the same seed.)
    const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0";

    fn signed(text: &str) -> Object {
        let secret = Ed25519SecretKey::from_base64(SEED).unwrap();
        let mut object = Json::parse_object(text).unwrap();
        sign(&mut object, "domain", "ed25519:1", |bytes| secret.sign(bytes)).unwrap();
        object
    }

    fn key() -> Ed25519PublicKey {
        Ed25519SecretKey::from_base64(SEED).unwrap().public_key()
    }

    #[test]
    fn vectors_of_the_specification() {
        for (text, signature) in [
            (
                "{}",
                "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
            ),
            (
                r#"{"one":1,"two":"Two"}"#,
                "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
            ),
        ] {
            let object = signed(text);
            assert_eq!(
                signature_of(&object, "domain", "ed25519:1").unwrap().to_base64(),
                signature
            );
            verify(&object, "domain", "ed25519:1", key()).unwrap();
        }
    }

    #[test]
    fn unknown_members_are_covered_and_unsigned_is_not() {
        let mut object = signed(r#"{"known":1,"unknown":{"x":[]}}"#);
        object.insert("unsigned".into(), Json::Integer(5));
        verify(&object, "domain", "ed25519:1", key()).unwrap();
        object.insert("unknown".into(), Json::Object(Object::new()));
        let error = verify(&object, "domain", "ed25519:1", key()).unwrap_err();
        assert_eq!(error.kind, Kind::Signature);
    }

    #[test]
    fn numbers_must_be_canonical_to_sign_and_to_verify() {
        let mut object = Json::parse_object(r#"{"n":1e1}"#).unwrap();
        let secret = Ed25519SecretKey::from_base64(SEED).unwrap();
        assert!(sign(&mut object, "domain", "ed25519:1", |bytes| secret.sign(bytes)).is_err());
        let mut object = signed(r#"{"n":10}"#);
        object.insert("n".into(), Json::Float(10.0));
        assert!(verify(&object, "domain", "ed25519:1", key()).is_err());
    }

    #[test]
    fn signing_keeps_the_signatures_that_are_there() {
        let object = signed(r#"{"signatures":{"other":{"ed25519:9":"x"}}}"#);
        let signatures = object["signatures"].as_object().unwrap();
        assert!(signatures.contains_key("other") && signatures.contains_key("domain"));
    }

    #[test]
    fn a_missing_signature_names_what_is_missing() {
        let object = signed("{}");
        for (entity, key_id, what) in
            [("other", "ed25519:1", "no signatures from"), ("domain", "ed25519:2", "no ed25519:2")]
        {
            let message = verify(&object, entity, key_id, key()).unwrap_err().message;
            assert!(message.contains(what), "{message}");
        }
        let bare = Json::parse_object("{}").unwrap();
        assert!(
            verify(&bare, "domain", "ed25519:1", key()).unwrap_err().message.contains("unsigned")
        );
    }
}
