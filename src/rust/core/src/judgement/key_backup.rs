//! The key backup as the server returns it: its version, who signed it, and what is in it.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups".

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use super::{
    secret_storage::StorageSecret,
    unique_map::{UniqueMap, read_object},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        canonical_json::{Json, Object},
        key_backup::{ALGORITHM, BackupKey, SALT},
        keys::curve25519,
        recovery_key, signing,
    },
    store::records::BackupVersion,
};

/// How many signatures are looked at: a server may return as many as it likes.
const MOST_SIGNATURES: usize = 100;

/// A signature of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSignature {
    /// The device id or public key that it names.
    pub signer: String,
    /// Whether it holds; none where its key is not known.
    pub valid: Option<bool>,
}

impl BackupVersion {
    /// Reads the response to `GET /room_keys/version`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no such response.
    pub fn read(text: &str) -> Result<Self> {
        let what = "The version of the key backup";
        let mut answer: UniqueMap<Json> = read_object(text).or_fail(Kind::Answer, what)?;
        let mut text = |name: &str| match answer.0.remove(name) {
            Some(Json::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(Error::new(Kind::Answer, format!("{what} has no {name}."))),
        };
        let (version, algorithm) = (text("version")?, text("algorithm")?);
        let Some(auth_data @ Json::Object(_)) = answer.0.remove("auth_data") else {
            return Err(Error::new(Kind::Answer, format!("{what} has no auth_data.")));
        };
        let count = answer.0.get("count").and_then(Json::as_integer).unwrap_or(0).max(0);
        Ok(Self { version, algorithm, auth_data: auth_data.text()?, count })
    }

    /// Reads the response to `GET /room_keys/version`: `None` if the server reports that there is
    /// no backup. Any other response says nothing about the backup, and is an error.
    ///
    /// # Errors
    /// The error code of the server, or one of ours, and the error text.
    pub fn read_response(status: u16, body: &str) -> Result<Option<Self>, (String, String)> {
        if status == 200 {
            let bad = |error: Error| ("MXCRYPT_BAD_ANSWER".to_owned(), error.message);
            return Self::read(body).map(Some).map_err(bad);
        }
        let response: UniqueMap<Json> = read_object(body).unwrap_or_default();
        let text = |name: &str| response.0.get(name).and_then(Json::as_str).map(str::to_owned);
        let code = text("errcode").unwrap_or_else(|| "M_UNKNOWN".to_owned());
        if status == 404 && code == "M_NOT_FOUND" {
            return Ok(None);
        }
        let said = text("error").map_or_else(String::new, |error| format!(" ({code}: {error})"));
        let message = match status {
            0 => format!("The server did not respond{said}."),
            _ => format!("The server responds with status {status}{said}."),
        };
        Err((code, message))
    }

    /// The public key that keys are encrypted with.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when it is of another algorithm, or has no such key.
    pub fn public_key(&self) -> Result<Curve25519PublicKey> {
        if self.algorithm != ALGORITHM {
            return Err(Error::new(Kind::KeyBackup, "The key backup is of an unknown algorithm."));
        }
        let auth_data = Json::parse_object(&self.auth_data)?;
        let key = auth_data.get("public_key").and_then(Json::as_str).ok_or_else(|| {
            Error::new(Kind::KeyBackup, "The auth_data of the key backup has no public_key.")
        })?;
        curve25519(key).or_fail(Kind::KeyBackup, "The public key of the key backup is malformed")
    }

    /// Whether `key` is its private key.
    pub fn is_of(&self, key: &BackupKey) -> bool {
        self.public_key().is_ok_and(|public| public == key.public())
    }

    /// Whether it has a passphrase of its own: it was made before there was secret storage.
    pub fn has_passphrase(&self) -> bool {
        Json::parse_object(&self.auth_data).is_ok_and(|auth_data| auth_data.contains_key(SALT))
    }

    /// Its private key, where `secret` is that key, or a passphrase of its own. That its public key fits
    /// proves it.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when the recovery key is mistyped; [`Kind::KeyBackup`] when the
    /// passphrase is to be used in a way that is not computed.
    pub fn private_key(&self, secret: StorageSecret<'_>) -> Result<Option<BackupKey>> {
        let key = match secret {
            StorageSecret::RecoveryKey(text) => {
                Some(BackupKey::from_bytes(recovery_key::decode(text)?))
            }
            StorageSecret::Passphrase(text) => {
                BackupKey::from_passphrase(text, &Json::parse_object(&self.auth_data)?)?
            }
        };
        Ok(key.filter(|key| self.is_of(key)))
    }

    /// The signatures of `user_id`. `key_of` knows the keys of devices, by id, and of the user's
    /// identity, by public key.
    ///
    /// # Errors
    /// [`Kind::Json`]
    pub fn signatures(
        &self,
        user_id: &str,
        key_of: impl Fn(&str) -> Option<Ed25519PublicKey>,
    ) -> Result<Vec<BackupSignature>> {
        let auth_data = Json::parse_object(&self.auth_data)?;
        let of_user = auth_data
            .get("signatures")
            .and_then(Json::as_object)
            .and_then(|signatures| signatures.get(user_id))
            .and_then(Json::as_object);
        let names = of_user.into_iter().flat_map(Object::keys);
        let signers = names.filter_map(|name| Some((name, name.strip_prefix("ed25519:")?)));
        let judge = |(name, signer): (&String, &str)| BackupSignature {
            signer: signer.to_owned(),
            valid: key_of(signer)
                .map(|key| signing::verify(&auth_data, user_id, name, key).is_ok()),
        };
        Ok(signers.take(MOST_SIGNATURES).map(judge).collect())
    }
}

/// The encrypted part of a backed-up session. What the server adds (the first index, how often the
/// session was forwarded) is ignored.
///
/// # Errors
/// [`Kind::Answer`]
pub fn session_data(text: &str) -> Result<Object> {
    let what = "A key of the backup";
    let mut answer: UniqueMap<Json> = read_object(text).or_fail(Kind::Answer, what)?;
    match answer.0.remove("session_data") {
        Some(Json::Object(data)) => Ok(data),
        _ => Err(Error::new(Kind::Answer, format!("{what} has no session_data."))),
    }
}

#[cfg(test)]
mod tests {
    use vodozemac::Ed25519SecretKey;

    use super::*;

    fn version(auth_data: &str) -> BackupVersion {
        let text = format!(
            r#"{{"version":"1","algorithm":"{ALGORITHM}","auth_data":{auth_data},"count":3}}"#
        );
        BackupVersion::read(&text).unwrap()
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for odd in [
            "",
            "[]",
            "{}",
            r#"{"version":1,"algorithm":"x","auth_data":{}}"#,
            r#"{"version":"","algorithm":"x","auth_data":{}}"#,
            r#"{"version":"1","algorithm":"x","auth_data":[]}"#,
            r#"{"version":"1","version":"2","algorithm":"x","auth_data":{}}"#,
        ] {
            assert_eq!(BackupVersion::read(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
        assert_eq!(version("{}").count, 3);
    }

    #[test]
    fn only_m_not_found_says_that_there_is_no_backup() {
        let none = r#"{"errcode":"M_NOT_FOUND","error":"No backup"}"#;
        assert_eq!(BackupVersion::read_response(404, none), Ok(None));
        for (status, body, says) in [
            (0, "", "did not respond"),
            (404, "", "status 404"),
            (404, r#"{"errcode":"M_UNRECOGNIZED","error":"What?"}"#, "M_UNRECOGNIZED: What?"),
            (405, "Method Not Allowed", "status 405"),
            (500, none, "status 500"),
            (200, r#"{"version":"1","auth_data":{}}"#, "no algorithm"),
            (200, "<html>", "key backup"),
        ] {
            let (_, message) = BackupVersion::read_response(status, body).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn a_public_key_is_one_of_this_algorithm() {
        let key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo";
        let auth_data = format!(r#"{{"public_key":"{key}"}}"#);
        let good = version(&auth_data);
        assert_eq!(good.public_key().unwrap().to_base64(), key);
        let other = BackupVersion { algorithm: "m.other".into(), ..good };
        assert_eq!(other.public_key().unwrap_err().kind, Kind::KeyBackup);
        let long = format!(r#"{{"public_key":"{}"}}"#, "A".repeat(60));
        for (odd, says) in [
            ("{}", "no public_key"),
            (r#"{"public_key":5}"#, "no public_key"),
            (r#"{"public_key":"AAAA"}"#, "length is 3 bytes"),
            (&long, "length is 45 bytes"),
        ] {
            let refused = version(odd).public_key().unwrap_err();
            assert_eq!(refused.kind, Kind::KeyBackup);
            assert!(refused.message.contains(says), "{}", refused.message);
        }
    }

    #[test]
    fn each_signature_is_judged_alone() {
        let secret = Ed25519SecretKey::from_slice(&[1; 32]);
        let mut auth_data = Json::parse_object(r#"{"public_key":"x","y":[]}"#).unwrap();
        for (user, name) in [("@a:b", "GOOD"), ("@a:b", "STRANGE"), ("@b:b", "THEIRS")] {
            let name = format!("ed25519:{name}");
            signing::sign(&mut auth_data, user, &name, |bytes| secret.sign(bytes)).unwrap();
        }
        let text = Json::Object(auth_data).text().unwrap();
        let text = text.replace("\"@a:b\":{", r#""@a:b":{"ed25519:BAD":"AAAA","other:1":"x","#);
        let key_of = |name: &str| (name != "STRANGE").then(|| secret.public_key());
        let found = version(&text).signatures("@a:b", key_of).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.signer.as_str(), s.valid)).collect();
        assert_eq!(found, [("BAD", Some(false)), ("GOOD", Some(true)), ("STRANGE", None)]);
        let odd = version(r#"{"signatures":{"@a:b":[]}}"#);
        assert_eq!(odd.signatures("@a:b", key_of).unwrap(), []);
    }

    #[test]
    fn what_is_no_key_is_an_error_of_the_answer() {
        assert!(session_data(r#"{"session_data":{}}"#).unwrap().is_empty());
        for odd in ["5", "{}", r#"{"session_data":5}"#] {
            assert_eq!(session_data(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }
}
