//! The table of requests. For each [`Ask`] it has the method, the path and the body; what must not run beside
//! it; how late its response may come; what its failures are counted under, and how it is divided after
//! them; what a response means for it.
//!
//! A topic gives an [`Ask`] to the pump and writes no path. The pause after a failure is the same for all,
//! and doubles (`failures`). `replies` says which topic processes a response.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    HOUR, MINUTE, Millis,
    path::{CLIENT, DELAYED, DELAYED_STABLE, MEDIA, UPLOADS, path, query},
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        error_response::ErrorResponse,
        room_event::{ENCRYPTED, REACTION},
    },
    primitives::account::SIGNED_CURVE25519,
    store::records::{Ask, Delay, Failure, OutboxBody, OutboxRow, Upload},
};

/// After this a server may have forgotten a transaction id, and would send the event twice.
pub(super) const TRANSACTION_IDS_LAST: Millis = 12 * HOUR;
/// How long after its lease the response of a slow server is still taken.
const LATEST: Millis = 10 * MINUTE;
/// How long the server may wait for other servers, in milliseconds.
const FEDERATION_TIMEOUT: u64 = 10_000;
/// How many users one `/keys/query` is for.
const USERS_PER_QUERY: usize = 250;
/// How many devices one `/keys/claim` is for: a user may have any number.
const DEVICES_PER_CLAIM: usize = 1000;
/// How many keys go to the backup in one request.
pub(super) const KEYS_PER_BACKUP: usize = 200;
/// After so many failures in a row a batch of the backup is one key.
pub(super) const HALVINGS: u32 = 8;
/// How many events of a gap are fetched at a time.
const EVENTS_PER_PAGE: &str = "200";
/// After so many failures of a user or device that was requested alone, the others go on without
/// it.
const PATIENCE: u32 = 3;
/// After so many failed responses, some hours, a gap is given up: the timeline behind it waits.
const GAP_PATIENCE: u32 = 30;
/// After so many failures to which the server responded, a file is given up.
const UPLOAD_PATIENCE: u32 = 10;
/// What the transport says, in place of the server, of a file that is not there any more.
const FILE_GONE: &str = "MXCRYPT_FILE_GONE";

/// What goes with a request that its [`Ask`] does not say.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing, or what follows from the [`Ask`].
    Implied,
    /// JSON text.
    Json(String),
    /// A file.
    File(Upload),
    /// The path and the bytes of a row of the outbox, which were fixed together.
    Fixed(String, String),
}

/// What a response means for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The requested result.
    Success,
    /// The requested resource does not exist. For keys that go to a backup: that version of it.
    Absent,
    /// It would be refused again.
    Refused,
    /// It would be refused again for its size. A smaller one may be taken.
    TooLarge,
    /// It is made again later.
    Failed,
}

impl Ask {
    /// The method, and the path with its query.
    ///
    /// # Errors
    /// [`Kind::Argument`] when an identifier in it would lead to another path.
    pub(super) fn endpoint(&self, body: &Body) -> Result<(&'static str, String)> {
        Ok(match self {
            Self::KeysUpload => ("POST", path(CLIENT, &["keys", "upload"])?),
            Self::KeysQuery { .. } => ("POST", path(CLIENT, &["keys", "query"])?),
            Self::KeysClaim { .. } => ("POST", path(CLIENT, &["keys", "claim"])?),
            Self::Signature { .. } => ("POST", path(CLIENT, &["keys", "signatures", "upload"])?),
            Self::Encryption { room_id, .. } => {
                ("GET", path(CLIENT, &["rooms", room_id, "state", "m.room.encryption"])?)
            }
            Self::HistoryVisibility { room_id, .. } => {
                ("GET", path(CLIENT, &["rooms", room_id, "state", "m.room.history_visibility"])?)
            }
            Self::Members { room_id, .. } => ("GET", path(CLIENT, &["rooms", room_id, "members"])?),
            Self::Gap { room_id, from, to, .. } => {
                let token = |token| Some(token).filter(|token: &&str| !token.is_empty());
                let query = query(&[
                    ("dir", Some("f")),
                    ("from", token(from)),
                    ("to", token(to)),
                    ("limit", Some(EVENTS_PER_PAGE)),
                ]);
                ("GET", path(CLIENT, &["rooms", room_id, "messages"])? + &query)
            }
            Self::BackupVersion => ("GET", path(CLIENT, &["room_keys", "version"])?),
            Self::BackUp { version, .. } => {
                let query = query(&[("version", Some(version))]);
                ("PUT", path(CLIENT, &["room_keys", "keys"])? + &query)
            }
            Self::BackedUpKey { room_id, session_id, version } => {
                let query = query(&[("version", Some(version))]);
                ("GET", path(CLIENT, &["room_keys", "keys", room_id, session_id])? + &query)
            }
            Self::KeyBundle { server, media_id, .. } => {
                ("GET", path(MEDIA, &["download", server, media_id])?)
            }
            Self::Upload { .. } => {
                let name = match body {
                    Body::File(upload) => upload.name.as_deref(),
                    _ => None,
                };
                ("POST", path(UPLOADS, &["upload"])? + &query(&[("filename", name)]))
            }
            Self::Send { .. } => match body {
                Body::Fixed(path, _) => ("PUT", path.clone()),
                _ => return Err(Error::new(Kind::Internal, "Only what is fixed is sent.")),
            },
            Self::CancelDelayed { delay_id, stable, .. } => {
                ("POST", delayed_event(delay_id, *stable, "cancel")?)
            }
            Self::ListDelayed { stable } => {
                ("GET", path(delayed_events(*stable), &["delayed_events"])?)
            }
        })
    }

    /// The body, where it follows from the request.
    pub(super) fn implied_body(&self) -> Option<String> {
        let body = match self {
            Self::KeysQuery { users, .. } => {
                let users: BTreeMap<&str, [&str; 0]> =
                    users.iter().map(|(user, _)| (user.as_str(), [])).collect();
                json!({"timeout": FEDERATION_TIMEOUT, "device_keys": users})
            }
            Self::KeysClaim { devices, .. } => {
                let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
                for (user_id, device_id) in devices {
                    wanted.entry(user_id).or_default().insert(device_id, SIGNED_CURVE25519);
                }
                json!({"timeout": FEDERATION_TIMEOUT, "one_time_keys": wanted})
            }
            _ => return None,
        };
        Some(body.to_string())
    }

    /// Whether `other` must not be made while this one is with the server. Users and devices that one is
    /// under way for are left out one by one, by those who ask for them.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BackUp { .. }, Self::BackUp { .. }) => true,
            (Self::Encryption { room_id, .. }, Self::Encryption { room_id: of, .. }) => {
                room_id == of
            }
            (
                Self::BackedUpKey { room_id, session_id, .. },
                Self::BackedUpKey { room_id: of, session_id: id, .. },
            ) => room_id == of && session_id == id,
            (Self::Send { number, .. }, Self::Send { number: of, .. })
            | (Self::CancelDelayed { number, .. }, Self::CancelDelayed { number: of, .. }) => {
                number == of
            }
            _ => self == other,
        }
    }

    /// How long after its lease its response is still taken, if at all. What it is about has a generation
    /// or a place of its own then, so that a late response cannot undo a newer one. If another
    /// process took the request of a slow server away, two processes would never hear anything. A late
    /// response to something sent is as good as an early one.
    pub(super) fn latest(&self) -> Option<Millis> {
        match self {
            Self::KeysQuery { .. }
            | Self::KeysClaim { .. }
            | Self::Members { .. }
            | Self::Gap { .. }
            | Self::Upload { .. } => Some(LATEST),
            Self::Send { .. } => Some(TRANSACTION_IDS_LAST),
            Self::KeysUpload
            | Self::Encryption { .. }
            | Self::HistoryVisibility { .. }
            | Self::Signature { .. }
            | Self::BackupVersion
            | Self::BackUp { .. }
            | Self::BackedUpKey { .. }
            | Self::KeyBundle { .. }
            | Self::CancelDelayed { .. }
            | Self::ListDelayed { .. } => None,
        }
    }

    /// The room whose messages wait for it, if they do.
    pub(super) fn room(&self) -> Option<&str> {
        match self {
            Self::KeysQuery { lane, .. }
            | Self::KeysClaim { lane, .. }
            | Self::Send { lane, .. } => lane.room(),
            Self::Encryption { room_id, .. }
            | Self::HistoryVisibility { room_id, .. }
            | Self::Members { room_id, .. }
            | Self::Upload { room_id, .. } => Some(room_id),
            _ => None,
        }
    }

    /// What its failures are counted under, apart from those of all others.
    pub(super) fn subject(&self) -> String {
        let kind = self.kind();
        match self {
            Self::KeysUpload
            | Self::BackupVersion
            | Self::BackUp { .. }
            | Self::ListDelayed { .. } => kind.to_owned(),
            // There may be hundreds of them. A key that fails by itself has a pause of its own.
            Self::BackedUpKey { .. } => kind.to_owned(),
            Self::KeysQuery { lane, .. } | Self::KeysClaim { lane, .. } => {
                format!("{kind} {}", lane.name())
            }
            Self::Encryption { room_id, .. }
            | Self::HistoryVisibility { room_id, .. }
            | Self::Members { room_id, .. } => format!("{kind} {room_id}"),
            Self::Gap { number, .. }
            | Self::Signature { number }
            | Self::KeyBundle { number, .. }
            | Self::Upload { number, .. }
            | Self::Send { number, .. }
            | Self::CancelDelayed { number, .. } => format!("{kind} {number}"),
        }
    }

    /// What the failures of each of its users or devices are counted under, once each was requested alone.
    pub(super) fn members(&self) -> Vec<String> {
        match self {
            Self::KeysQuery { users, .. } => users.iter().map(|(user, _)| of_user(user)).collect(),
            Self::KeysClaim { devices, .. } => {
                devices.iter().map(|(user, device)| of_device(user, device)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The largest batch of it that may be made after `failure`. A batch of users or devices that failed is
    /// tried again in parts, and one of keys in halves: one of its subjects may be the reason.
    pub(super) fn largest_batch(&self, failure: Option<&Failure>) -> usize {
        let most = match self {
            Self::KeysQuery { .. } => USERS_PER_QUERY,
            Self::KeysClaim { .. } => DEVICES_PER_CLAIM,
            Self::BackUp { .. } => KEYS_PER_BACKUP,
            _ => 1,
        };
        let divided = match (self, failure) {
            (_, None) => most,
            (Self::BackUp { .. }, Some(failure)) => most >> failure.failures.min(HALVINGS),
            (_, Some(failure)) => failure.batch.min(most),
        };
        divided.max(1)
    }

    /// After so many failures of its own, others go on without it.
    pub(super) fn patience(&self) -> u32 {
        match self {
            Self::KeysQuery { users, .. } if users.len() == 1 => PATIENCE,
            Self::KeysClaim { devices, .. } if devices.len() == 1 => PATIENCE,
            Self::Gap { .. } => GAP_PATIENCE,
            Self::Upload { .. } => UPLOAD_PATIENCE,
            // The devices of a divided request get it twice if the server had delivered it after all.
            Self::Send { .. } => 2 * PATIENCE,
            _ => u32::MAX,
        }
    }

    /// What a response means for it.
    pub(super) fn meaning(&self, response: &ErrorResponse) -> Meaning {
        match self {
            _ if response.status == 200 => Meaning::Success,
            Self::Encryption { .. } | Self::HistoryVisibility { .. } | Self::BackedUpKey { .. }
                if response.is_absence() =>
            {
                Meaning::Absent
            }
            Self::BackUp { .. }
                if response.is_absence() || response.code == "M_WRONG_ROOM_KEYS_VERSION" =>
            {
                Meaning::Absent
            }
            // 409 where the server remembers that it has sent it.
            Self::CancelDelayed { .. } if response.is_absence() || response.status == 409 => {
                Meaning::Absent
            }
            // Synapse has no error code of its own for keys that contradict those it has.
            Self::KeysUpload if response.status == 400 && response.is_about_request() => {
                Meaning::Refused
            }
            // No refusal ends these: what they are for is still needed.
            Self::KeysUpload
            | Self::KeysQuery { .. }
            | Self::KeysClaim { .. }
            | Self::BackupVersion
            | Self::BackedUpKey { .. }
            | Self::CancelDelayed { .. }
            | Self::ListDelayed { .. } => Meaning::Failed,
            Self::Send { .. } if response.is_too_large() => Meaning::TooLarge,
            // Nor for a relation to an event that it does not know: all that is sent to the room afterwards
            // would wait behind it.
            Self::Send { .. } if response.status == 400 && response.is_about_request() => {
                Meaning::Refused
            }
            // Also where a proxy says that it is too large: it would say so for ever.
            Self::Upload { .. } if response.is_too_large() || response.code == FILE_GONE => {
                Meaning::Refused
            }
            _ if response.is_final() => Meaning::Refused,
            _ => Meaning::Failed,
        }
    }
}

/// What the failures of a user who was requested alone are counted under.
pub(super) fn of_user(user_id: &str) -> String {
    format!("keys_query of {user_id}")
}

/// The same for a device.
pub(super) fn of_device(user_id: &str, device_id: &str) -> String {
    format!("keys_claim of {user_id} {device_id}")
}

/// The path that a row of the outbox is sent to, once its bytes are made.
///
/// # Errors
/// As [`Ask::endpoint`].
pub(super) fn path_of_row(row: &OutboxRow, encrypted: bool) -> Result<String> {
    let OutboxRow { room_id, transaction_id, .. } = row;
    match &row.body {
        OutboxBody::Event { event_type, delay: Some(delay), .. } => {
            let event_type = if encrypted { ENCRYPTED } else { event_type };
            delayed_path(room_id, event_type, transaction_id, *delay)
        }
        OutboxBody::Event { .. } if encrypted => {
            path(CLIENT, &["rooms", room_id, "send", ENCRYPTED, transaction_id])
        }
        OutboxBody::Event { event_type, .. } => {
            path(CLIENT, &["rooms", room_id, "send", event_type, transaction_id])
        }
        OutboxBody::Reaction { .. } => {
            path(CLIENT, &["rooms", room_id, "send", REACTION, transaction_id])
        }
        OutboxBody::Redaction { event_id, .. } => {
            path(CLIENT, &["rooms", room_id, "redact", event_id, transaction_id])
        }
        OutboxBody::RoomKeys { .. } => path(CLIENT, &["sendToDevice", ENCRYPTED, transaction_id]),
        OutboxBody::ToDevice { event_type, .. } => {
            path(CLIENT, &["sendToDevice", event_type, transaction_id])
        }
    }
}

/// Where the server is asked to send an event later. Before the proposal was accepted that was a parameter of
/// the query, which a server that does not know it ignores: it sends the event at once.
fn delayed_path(
    room_id: &str,
    event_type: &str,
    transaction_id: &str,
    delay: Delay,
) -> Result<String> {
    if delay.stable {
        return path(CLIENT, &["rooms", room_id, "delayed_event", event_type, transaction_id]);
    }
    let milliseconds = delay.milliseconds.to_string();
    let query = query(&[("org.matrix.msc4140.delay", Some(&milliseconds))]);
    Ok(path(CLIENT, &["rooms", room_id, "send", event_type, transaction_id])? + &query)
}

/// The path of what is done with an event that the server is to send later.
///
/// # Errors
/// [`Kind::Argument`] when the id would lead to another path.
pub(super) fn delayed_event(delay_id: &str, stable: bool, action: &str) -> Result<String> {
    path(delayed_events(stable), &["delayed_events", delay_id, action])
}

fn delayed_events(stable: bool) -> &'static str {
    if stable { DELAYED_STABLE } else { DELAYED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::Lane;

    const ROOM: &str = "!a/b:c";

    fn gap(from: &str) -> Ask {
        Ask::Gap { room_id: ROOM.into(), number: 1, from: from.into(), to: "t&2".into() }
    }

    fn error(status: u16, code: &str) -> ErrorResponse {
        ErrorResponse::read(status, &format!(r#"{{"errcode":"{code}"}}"#))
    }

    fn query(user_ids: &[&str]) -> Ask {
        let users = user_ids.iter().map(|user_id| ((*user_id).to_owned(), 1)).collect();
        Ask::KeysQuery { users, lane: Lane::Side }
    }

    #[test]
    fn a_path_is_encoded_and_has_the_parts_that_there_are() {
        let path = |ask: Ask| ask.endpoint(&Body::Implied).unwrap().1;
        let room = "/_matrix/client/v3/rooms/%21a%2Fb%3Ac/messages";
        assert_eq!(path(gap("s+1")), format!("{room}?dir=f&from=s%2B1&to=t%262&limit=200"));
        assert_eq!(path(gap("")), format!("{room}?dir=f&to=t%262&limit=200"));
        let key = Ask::BackedUpKey {
            room_id: ROOM.into(),
            session_id: "s/1".into(),
            version: "1&2".into(),
        };
        let keys = "/_matrix/client/v3/room_keys/keys";
        assert_eq!(path(key), format!("{keys}/%21a%2Fb%3Ac/s%2F1?version=1%262"));
        let upload = Ask::Upload { number: 1, file: "f".into(), room_id: ROOM.into() };
        assert_eq!(path(upload), "/_matrix/media/v3/upload");
    }

    #[test]
    fn an_identifier_that_would_lead_to_another_path_is_refused() {
        let ask = Ask::Members { room_id: "..".into(), generation: 1 };
        assert_eq!(ask.endpoint(&Body::Implied).unwrap_err().kind, Kind::Argument);
    }

    #[test]
    fn one_request_excludes_what_would_do_the_same_again() {
        let encryption = |up_to| Ask::Encryption { room_id: ROOM.into(), up_to };
        let send = |number, lane| Ask::Send { number, lane };
        let back_up = |version: &str| Ask::BackUp { version: version.into(), up_to: 1 };
        assert!(encryption(1).excludes(&encryption(2)));
        assert!(send(1, Lane::Side).excludes(&send(1, Lane::Room(ROOM.into()))));
        assert!(!send(1, Lane::Side).excludes(&send(2, Lane::Side)));
        assert!(back_up("1").excludes(&back_up("2")));
        assert!(gap("1").excludes(&gap("1")) && !gap("1").excludes(&gap("2")));
        assert!(!query(&["@a:b"]).excludes(&query(&["@a:b", "@b:b"])));
    }

    #[test]
    fn what_failed_in_a_batch_is_divided_until_it_is_alone() {
        let failed = |failures, batch| Failure {
            subject: String::new(),
            number: 1,
            failures,
            retry_at: 0,
            failed_at: 0,
            batch,
            status: 0,
            code: String::new(),
            message: String::new(),
        };
        assert_eq!(query(&[]).largest_batch(None), USERS_PER_QUERY);
        assert_eq!(query(&[]).largest_batch(Some(&failed(1, 31))), 31);
        assert_eq!(query(&[]).largest_batch(Some(&failed(1, 0))), 1);
        let back_up = Ask::BackUp { version: String::new(), up_to: 0 };
        let sizes = [1, 2, 8, 100].map(|n| back_up.largest_batch(Some(&failed(n, 1))));
        assert_eq!(sizes, [100, 50, 1, 1]);
        assert_eq!(query(&["@a:b", "@b:b"]).patience(), u32::MAX);
        assert_eq!(query(&["@a:b"]).patience(), PATIENCE);
    }

    #[test]
    fn a_response_means_what_it_means_for_its_request() {
        let (room_id, number) = (ROOM.to_owned(), 1);
        let encryption = Ask::Encryption { room_id: room_id.clone(), up_to: 1 };
        let members = Ask::Members { room_id: room_id.clone(), generation: 1 };
        let upload = Ask::Upload { number, file: "f".into(), room_id };
        let send = Ask::Send { number, lane: Lane::Side };
        let back_up = Ask::BackUp { version: "1".into(), up_to: 1 };
        let proxy = |status| ErrorResponse::read(status, "<html>");
        for (ask, response, meaning) in [
            (&encryption, error(404, "M_NOT_FOUND"), Meaning::Absent),
            (&encryption, proxy(404), Meaning::Failed),
            (&encryption, error(403, "M_FORBIDDEN"), Meaning::Refused),
            (&members, error(404, "M_NOT_FOUND"), Meaning::Refused),
            (&back_up, error(403, "M_WRONG_ROOM_KEYS_VERSION"), Meaning::Absent),
            (&query(&["@a:b"]), error(403, "M_FORBIDDEN"), Meaning::Failed),
            (&Ask::KeysUpload, error(400, "M_UNKNOWN"), Meaning::Refused),
            (&Ask::KeysUpload, proxy(400), Meaning::Failed),
            (&Ask::KeysUpload, error(403, "M_FORBIDDEN"), Meaning::Failed),
            (&upload, proxy(413), Meaning::Refused),
            (&upload, error(400, FILE_GONE), Meaning::Refused),
            (&send, proxy(413), Meaning::TooLarge),
            (&send, error(400, "M_UNKNOWN"), Meaning::Refused),
            (&send, error(403, "M_UNKNOWN"), Meaning::Failed),
            (&send, proxy(400), Meaning::Failed),
            (&send, proxy(502), Meaning::Failed),
            (&send, proxy(200), Meaning::Success),
        ] {
            assert_eq!(ask.meaning(&response), meaning, "{ask:?} {response:?}");
        }
    }
}
