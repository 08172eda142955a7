//! A bundle of room keys that a user shares with those they invite.
//!
//! Specification: client-server API, end-to-end encryption, "`RoomKeyBundle`".

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::exported_session::{self, ExportedSession, Judged};
use crate::{
    error::{Kind, OrFail, Result},
    primitives::account::MEGOLM,
    store::records::InboundSession,
};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    room_keys: Vec<&'a RawValue>,
    #[serde(default)]
    withheld: Vec<Withheld>,
}

#[derive(Deserialize)]
struct Withheld {
    #[serde(default)]
    session_id: Option<String>,
}

/// Reads the sessions of a bundle for a room. Keys for other rooms, and those that the bundle says are
/// withheld as well, are left out; so is each that does not hold.
///
/// # Errors
/// [`Kind::Json`] when it is no bundle.
pub fn read(bytes: &[u8], room_id: &str) -> Result<Vec<ExportedSession>> {
    let bundle: Wire<'_> =
        serde_json::from_slice(bytes).or_fail(Kind::Json, "The key bundle is refused")?;
    let withheld: BTreeSet<String> =
        bundle.withheld.into_iter().filter_map(|entry| entry.session_id).collect();
    let good = |judged: Judged| {
        judged.verdict.ok().filter(|session| {
            session.room_id == room_id && !withheld.contains(&session.session.session_id())
        })
    };
    // One key for each session: each further one would be compared with all that waits for it.
    let mut sessions = BTreeMap::new();
    for key in bundle.room_keys {
        if let Some(session) = good(exported_session::judge(key.get())) {
            sessions.entry(session.session.session_id()).or_insert(session);
        }
    }
    Ok(sessions.into_values().collect())
}

/// Writes a bundle of the sessions of a room: the keys of those that may be shared, and of the
/// others that they are not.
///
/// # Errors
/// [`Kind::Internal`]
pub fn write(sessions: &[InboundSession]) -> Result<Zeroizing<Vec<u8>>> {
    let (shared, withheld): (Vec<_>, Vec<_>) =
        sessions.iter().partition(|session| session.shared_history);
    let keys = shared.iter().map(|session| exported_session::for_bundle(session));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let withheld: Vec<_> = withheld
        .iter()
        .map(|session| {
            serde_json::json!({
                "algorithm": MEGOLM,
                "room_id": session.room_id,
                "session_id": session.session_id,
                "sender_key": session.sender_key,
                "code": "m.history_not_shared",
                "reason": "Its maker does not share it with those invited later.",
            })
        })
        .collect();
    let length = keys.iter().map(|key| key.len() + 1).sum::<usize>();
    let withheld = serde_json::to_vec(&withheld).or_fail(Kind::Internal, "A key bundle")?;
    // Growing would leave copies of the keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + withheld.len() + 64));
    bytes.extend_from_slice(b"{\"room_keys\":[");
    for (n, key) in keys.iter().enumerate() {
        if n > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(key);
    }
    bytes.extend_from_slice(b"],\"withheld\":");
    bytes.extend_from_slice(&withheld);
    bytes.push(b'}');
    Ok(bytes)
}
