//! A Megolm session as key exports and key backups hold it.
//!
//! Specification: client-server API, end-to-end encryption, "`ExportedSessionData`" and
//! "`BackedUpSessionData`". Nothing in it is signed: its author may have made up all of it. One
//! thing can be checked: the session has the id it is kept under.

use std::{cell::RefCell, collections::BTreeMap};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};
use vodozemac::megolm::InboundGroupSession;
use zeroize::Zeroizing;

use super::{
    identifier,
    unique_map::{UniqueMap, read_object},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{account::MEGOLM, keys, megolm},
    store::records::InboundSession,
};

/// The name of the flag in the specification, the one that matrix-rust-sdk writes, and the one that
/// it reads besides and others write.
const SHARED_HISTORY: [&str; 3] =
    ["shared_history", "m.shared_history", "org.matrix.msc3061.shared_history"];

/// A session that can be kept.
pub struct ExportedSession {
    /// The room it is for.
    pub room_id: String,
    /// The ratchet.
    pub session: InboundGroupSession,
    /// The Curve25519 key of the device that is said to have made it.
    pub sender_key: String,
    /// The Ed25519 key of that device; empty where nobody says.
    pub sender_signing_key: String,
    /// Its sender is said to allow sharing it with users who are invited later.
    pub shared_history: bool,
}

/// A session of a key export.
pub struct Judged {
    /// The room it is said to be for.
    pub room_id: Option<String>,
    /// The id it is said to have.
    pub session_id: Option<String>,
    /// The Curve25519 key of the device that is said to have made it.
    pub sender_key: Option<String>,
    /// The session, or why it is refused.
    pub verdict: Result<ExportedSession>,
}

/// Judges a session of a key export, which says itself where it belongs.
pub fn judge(text: &str) -> Judged {
    let members = match Members::read(text) {
        Ok(members) => members,
        Err(error) => {
            return Judged {
                room_id: None,
                session_id: None,
                sender_key: None,
                verdict: Err(error),
            };
        }
    };
    let sound = |name| members.get(name).filter(|text: &String| identifier::is_sound(text));
    let (room_id, session_id) = (sound("room_id"), sound("session_id"));
    let verdict = match (&room_id, &session_id) {
        (Some(room_id), Some(session_id)) => members.session(room_id, session_id),
        _ => Err(refused("it has no room_id or session_id that could be one")),
    };
    Judged { room_id, session_id, sender_key: sound("sender_key"), verdict }
}

/// Judges a session that a key backup holds under this room and session id.
///
/// # Errors
/// [`Kind::Json`], [`Kind::Megolm`] or [`Kind::Encoding`] with the reason it is refused.
pub fn judge_at(text: &str, room_id: &str, session_id: &str) -> Result<ExportedSession> {
    Members::read(text)?.session(room_id, session_id)
}

struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let members: UniqueMap<&RawValue> =
            read_object(text).or_fail(Kind::Json, "The session is refused")?;
        Ok(Self(members.0))
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.0.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    fn session(&self, room_id: &str, session_id: &str) -> Result<ExportedSession> {
        let missing = |name: &str| refused(&format!("it has no {name}"));
        if !identifier::is_sound(room_id) {
            return Err(refused("it is for no room"));
        }
        if self.get::<String>("algorithm").as_deref() != Some(MEGOLM) {
            return Err(refused("it is not for Megolm"));
        }
        let key: Zeroizing<String> =
            self.get("session_key").ok_or_else(|| missing("session_key"))?;
        let session = megolm::imported(&key)?;
        // Messages are looked up by this id. Were it not the key's own, the session could take the
        // place of any other.
        if session.session_id() != session_id {
            return Err(refused("its key is that of another session"));
        }
        let sender_key: String = self.get("sender_key").ok_or_else(|| missing("sender_key"))?;
        let claimed: BTreeMap<String, String> = self.get("sender_claimed_keys").unwrap_or_default();
        let signing_key = claimed.get("ed25519").map(|key| claimed_key(key)).transpose()?;
        Ok(ExportedSession {
            room_id: room_id.to_owned(),
            session,
            sender_key: keys::curve25519(&sender_key)?.to_base64(),
            // Some clients leave it out.
            sender_signing_key: signing_key.unwrap_or_default(),
            shared_history: SHARED_HISTORY.iter().find_map(|name| self.get(name)) == Some(true),
        })
    }
}

thread_local! {
    /// The Ed25519 key that was checked last, as it was written and as it is kept.
    static CHECKED: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// The Ed25519 key of the device that is said to have made a session. Files and backups hold many sessions of one device,
/// and to check that its key is a point takes as long as the same for the session.
fn claimed_key(text: &str) -> Result<String> {
    CHECKED.with_borrow_mut(|checked| match checked {
        Some((written, key)) if written == text => Ok(key.clone()),
        _ => {
            let key = keys::ed25519(text)?.to_base64();
            *checked = Some((text.to_owned(), key.clone()));
            Ok(key)
        }
    })
}

fn refused(what: &str) -> Error {
    Error::new(Kind::Megolm, format!("The session is refused: {what}."))
}

/// What a key bundle leaves out.
#[derive(Serialize)]
struct Past<'a> {
    forwarding_curve25519_key_chain: [&'a str; 0],
    shared_history: bool,
    #[serde(rename = "org.matrix.msc3061.shared_history")]
    old_shared_history: bool,
}

#[derive(Serialize)]
struct Data<'a> {
    algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    session_key: &'a str,
    sender_key: &'a str,
    sender_claimed_keys: serde_json::Value,
    #[serde(flatten)]
    past: Option<Past<'a>>,
}

/// A session as a key export holds it, JSON text.
///
/// # Errors
/// [`Kind::Internal`]
pub fn for_export(session: &InboundSession) -> Result<Zeroizing<Vec<u8>>> {
    write(session, true, true)
}

/// A session as a key bundle holds it, JSON text.
///
/// # Errors
/// [`Kind::Internal`]
pub fn for_bundle(session: &InboundSession) -> Result<Zeroizing<Vec<u8>>> {
    write(session, true, false)
}

/// A session as a key backup holds it, JSON text.
///
/// # Errors
/// [`Kind::Internal`]
pub fn for_backup(session: &InboundSession) -> Result<Zeroizing<Vec<u8>>> {
    write(session, false, true)
}

fn write(
    session: &InboundSession,
    with_place: bool,
    with_past: bool,
) -> Result<Zeroizing<Vec<u8>>> {
    let key = Zeroizing::new(session.session.export_at_first_known_index().to_base64());
    let signing_key = session.sender_signing_key.as_str();
    let claimed = if signing_key.is_empty() { json!({}) } else { json!({"ed25519": signing_key}) };
    // Growing would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
    let data = Data {
        algorithm: MEGOLM,
        room_id: with_place.then_some(&session.room_id),
        session_id: with_place.then_some(&session.session_id),
        session_key: &key,
        sender_key: &session.sender_key,
        sender_claimed_keys: claimed,
        past: with_past.then_some(Past {
            forwarding_curve25519_key_chain: [],
            shared_history: session.shared_history,
            old_shared_history: session.shared_history,
        }),
    };
    serde_json::to_writer(&mut *bytes, &data).or_fail(Kind::Internal, "An exported session")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use vodozemac::olm::Account;

    use super::*;
    use crate::store::records::KeySource;

    fn kept() -> InboundSession {
        let outbound = megolm::outbound();
        let device = Account::new();
        InboundSession {
            room_id: "!room:here".into(),
            session_id: outbound.session_id(),
            number: 1,
            session: megolm::inbound(&outbound.session_key().to_base64()).unwrap(),
            sender: Some("@bob:here".into()),
            sender_key: device.curve25519_key().to_base64(),
            sender_signing_key: device.ed25519_key().to_base64(),
            source: KeySource::Direct,
            forwarder: None,
            shared_history: true,
            changed: 0,
            first_read: 0,
        }
    }

    fn exported(session: &InboundSession) -> Value {
        serde_json::from_slice(&for_export(session).unwrap()).unwrap()
    }

    fn refusal(exported: &Value) -> Option<String> {
        judge(&exported.to_string()).verdict.err().map(|error| error.message)
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let session = kept();
        let read = judge(&exported(&session).to_string());
        assert_eq!(read.session_id.as_deref(), Some(session.session_id.as_str()));
        let read = read.verdict.unwrap();
        assert_eq!(read.session.session_id(), session.session_id);
        assert_eq!(read.room_id, session.room_id);
        assert_eq!(read.sender_key, session.sender_key);
        assert_eq!(read.sender_signing_key, session.sender_signing_key);
        assert!(read.shared_history);
        let backup = for_backup(&session).unwrap();
        let text = std::str::from_utf8(&backup).unwrap();
        assert!(!text.contains(&session.room_id));
        assert!(judge_at(text, "!other:here", &session.session_id).is_ok());
    }

    /// Otherwise a file, or a server with its backup, could take the place of any session.
    #[test]
    fn a_key_under_another_id_is_refused() {
        let (session, other) = (kept(), kept());
        let mut false_id = exported(&session);
        false_id["session_id"] = other.session_id.clone().into();
        assert!(refusal(&false_id).unwrap().contains("another session"));
        let backup = for_backup(&session).unwrap();
        let text = std::str::from_utf8(&backup).unwrap();
        assert!(judge_at(text, "!room:here", &other.session_id).is_err());
        assert!(judge_at(text, "\u{7}room", &session.session_id).is_err());
    }

    #[test]
    fn what_is_malformed_is_refused_by_itself() {
        let good = exported(&kept());
        assert_eq!(refusal(&good), None);
        for name in ["algorithm", "room_id", "session_id", "session_key", "sender_key"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(name);
            assert!(refusal(&bad).is_some(), "{name}");
            for wrong in [json!(null), json!(5), json!(""), json!("\u{7}x"), json!({})] {
                bad[name] = wrong;
                assert!(refusal(&bad).is_some(), "{bad}");
            }
        }
        for (name, wrong) in [
            ("algorithm", json!("m.megolm.v2")),
            ("room_id", json!("!".repeat(300))),
            ("sender_key", json!("AAAA")),
            ("sender_claimed_keys", json!({"ed25519": "AAAA"})),
        ] {
            let mut bad = good.clone();
            bad[name] = wrong;
            assert!(refusal(&bad).is_some(), "{name}");
        }
        for text in ["", "[]", "null", "\"x\"", r#"{"algorithm":"a","algorithm":"b"}"#] {
            assert!(judge(text).verdict.is_err(), "{text}");
        }
    }

    #[test]
    fn all_names_of_the_flag_are_read() {
        let good = exported(&kept());
        assert_eq!(
            (&good[SHARED_HISTORY[0]], &good[SHARED_HISTORY[2]]),
            (&json!(true), &json!(true))
        );
        let shared = |values: [Value; 3]| {
            let mut session = good.clone();
            for (name, value) in SHARED_HISTORY.iter().zip(values) {
                session[*name] = value;
            }
            judge(&session.to_string()).verdict.unwrap().shared_history
        };
        let (yes, no, none) = (json!(true), json!(false), json!(null));
        assert!(shared([yes.clone(), none.clone(), none.clone()]));
        assert!(shared([none.clone(), yes.clone(), none.clone()]));
        assert!(shared([none.clone(), none.clone(), yes.clone()]));
        // What the specification names counts, and nothing but true is true.
        assert!(!shared([no, yes.clone(), yes]));
        assert!(!shared([json!("true"), json!(1), none]));
    }

    #[test]
    fn the_claimed_key_may_be_missing() {
        let mut session = exported(&kept());
        session["sender_claimed_keys"] = json!({});
        let read = judge(&session.to_string()).verdict.unwrap();
        assert_eq!(read.sender_signing_key, "");
    }
}
