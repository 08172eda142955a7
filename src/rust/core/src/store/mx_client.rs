//! The store of the R package mx.client: `pickle.key`, `account.pickle`, `sessions.json`. It is read
//! and never written.
//!
//! Its pickles are vodozemac's. mx.client saved ratchets after it had sent what they encrypted. A saved
//! ratchet may be older than what was sent, so none of them may encrypt again.
//!
//! What it says of rooms and users is not judged here, see `machine/store_import.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use vodozemac::{
    megolm::{GroupSession, GroupSessionPickle, InboundGroupSession, InboundGroupSessionPickle},
    olm::{Account, AccountPickle, IdentityKeys, Session, SessionPickle},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        canonical_json::{Json, Object},
        keys, megolm,
    },
};

const KEY: &str = "pickle.key";
/// The file that such a store is recognised by.
pub(super) const ACCOUNT: &str = "account.pickle";
const SESSIONS: &str = "sessions.json";

/// What is in such a store.
pub struct MxClientStore {
    /// The account of its device.
    pub account: Account,
    /// Olm sessions, each with the Curve25519 key of the other device.
    pub olm: Vec<(String, Session)>,
    /// Megolm sessions that read messages.
    pub inbound: Vec<ReadingSession>,
    /// What cannot be used: where it stands, and why.
    pub refused: Vec<(String, Error)>,
    files: Vec<Seen>,
}

/// A Megolm session that reads messages.
pub struct ReadingSession {
    /// The room.
    pub room_id: String,
    /// The ratchet.
    pub session: InboundGroupSession,
    /// Whose it is; none where that was never checked.
    pub sender: Option<String>,
    /// The Ed25519 key of the device that made it; empty where nobody says.
    pub sender_signing_key: String,
    /// It is what the device itself encrypted with.
    pub own: bool,
}

/// A file as it was when it was read.
#[derive(PartialEq)]
struct Seen {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl MxClientStore {
    /// Reads the store in `directory`. Its names of rooms and users are as they stand there.
    ///
    /// # Errors
    /// [`Kind::StoreForeign`] when there is none, or its account cannot be used.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut store = Files { directory, seen: Vec::new() };
        let key = store.bytes(KEY)?;
        let key: Zeroizing<[u8; 32]> =
            Zeroizing::new(key.as_slice().try_into().map_err(|_| {
                foreign(format!("{KEY} has {} bytes, and must have 32.", key.len()))
            })?);
        let account = read_account(&store.text(ACCOUNT)?, &key)?;
        let mut read = Self {
            account,
            olm: Vec::new(),
            inbound: Vec::new(),
            refused: Vec::new(),
            files: Vec::new(),
        };
        if directory.join(SESSIONS).exists() {
            read.read_sessions(&store.text(SESSIONS)?, &key)?;
        }
        read.files = store.seen;
        Ok(read)
    }

    /// The public keys of its device.
    pub fn identity_keys(&self) -> IdentityKeys {
        self.account.identity_keys()
    }

    /// Checks that nobody has written to the store since it was read.
    ///
    /// # Errors
    /// [`Kind::StoreForeign`] when somebody has.
    pub fn check_unchanged(&self) -> Result<()> {
        for seen in &self.files {
            if Seen::of(&seen.path)? != *seen {
                return Err(foreign(format!(
                    "{} has changed meanwhile: another process uses the store. End it, for good, \
                     and try again.",
                    seen.path.display()
                )));
            }
        }
        Ok(())
    }

    fn read_sessions(&mut self, text: &str, key: &[u8; 32]) -> Result<()> {
        let sessions = Json::parse_object(text).or_fail(Kind::StoreForeign, SESSIONS)?;
        if sessions.get("version").is_some_and(|version| version.as_integer() != Some(1)) {
            return Err(foreign(format!("{SESSIONS} is of an unknown version.")));
        }
        for kind in ["olm", "olm_in"] {
            for (identity_key, found) in members(&sessions, kind)? {
                // Later versions keep several with one device.
                let pickles = found.as_array().unwrap_or(std::slice::from_ref(found));
                for pickle in pickles {
                    match read_olm(identity_key, pickle, key) {
                        Ok(session) => self.olm.push(session),
                        Err(error) => self.refused.push((format!("{kind} {identity_key}"), error)),
                    }
                }
            }
        }
        for (place, found) in members(&sessions, "megolm_in")? {
            match read_inbound(place, found, key) {
                Ok(session) => self.inbound.push(session),
                Err(error) => self.refused.push((place.clone(), error)),
            }
        }
        for (room_id, found) in members(&sessions, "megolm_out")? {
            match read_outbound(room_id, found, key) {
                Ok(session) => self.inbound.push(session),
                Err(error) => self.refused.push((room_id.clone(), error)),
            }
        }
        Ok(())
    }
}

struct Files<'a> {
    directory: &'a Path,
    seen: Vec<Seen>,
}

impl Files<'_> {
    fn bytes(&mut self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let path = self.directory.join(name);
        let seen = Seen::of(&path)?;
        let bytes = fs::read(&path).or_fail(Kind::StoreForeign, &path.display().to_string())?;
        self.seen.push(seen);
        Ok(Zeroizing::new(bytes))
    }

    fn text(&mut self, name: &str) -> Result<String> {
        let bytes = self.bytes(name)?;
        let text = std::str::from_utf8(&bytes).or_fail(Kind::StoreForeign, name)?;
        Ok(text.to_owned())
    }
}

impl Seen {
    fn of(path: &Path) -> Result<Self> {
        let is = fs::metadata(path)
            .or_fail(Kind::StoreForeign, &format!("{} cannot be read", path.display()))?;
        Ok(Self { path: path.to_owned(), length: is.len(), modified: is.modified().ok() })
    }
}

fn read_account(text: &str, key: &[u8; 32]) -> Result<Account> {
    let pickle = if text.trim_start().starts_with('{') {
        let object = Json::parse_object(text).or_fail(Kind::StoreForeign, ACCOUNT)?;
        if object.get("version").and_then(Json::as_integer) != Some(1) {
            return Err(foreign(format!("{ACCOUNT} is of an unknown version.")));
        }
        object.get("pickle").and_then(Json::as_str).unwrap_or_default().to_owned()
    } else {
        text.split_whitespace().collect()
    };
    let pickle = AccountPickle::from_encrypted(&pickle, key).or_fail(
        Kind::StoreForeign,
        &format!("{ACCOUNT} does not open with {KEY}: they are of two stores, or damaged"),
    )?;
    Ok(Account::from_pickle(pickle))
}

/// A map that was never filled is written as an array.
fn members<'a>(
    sessions: &'a Object,
    name: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Json)>> {
    match sessions.get(name) {
        None => Ok(None),
        Some(Json::Array(none)) if none.is_empty() => Ok(None),
        Some(Json::Object(members)) => Ok(Some(members)),
        Some(_) => Err(foreign(format!("{name} in {SESSIONS} is no map."))),
    }
    .map(|members| members.into_iter().flatten())
}

fn read_olm(identity_key: &str, pickle: &Json, key: &[u8; 32]) -> Result<(String, Session)> {
    let identity_key = keys::curve25519(identity_key)?.to_base64();
    let pickle = SessionPickle::from_encrypted(pickle.as_str().unwrap_or_default(), key);
    Ok((identity_key, Session::from_pickle(pickle.or_fail(Kind::Pickle, "An Olm session")?)))
}

fn read_inbound(place: &str, found: &Json, key: &[u8; 32]) -> Result<ReadingSession> {
    // A room id may hold the sign, a session id never does.
    let (room_id, session_id) = place.rsplit_once('|').unwrap_or((place, ""));
    let member = |name: &str| found.as_object().and_then(|found| found.get(name));
    let text = |name: &str| member(name).and_then(Json::as_str);
    // Early versions wrote the pickle alone.
    let pickle = found.as_str().or_else(|| text("session")).unwrap_or_default();
    let pickle = InboundGroupSessionPickle::from_encrypted(pickle, key);
    let session = InboundGroupSession::from_pickle(pickle.or_fail(Kind::Pickle, "A session")?);
    if session.session_id() != session_id {
        return Err(Error::new(Kind::Megolm, "It stands under another session's id."));
    }
    let bound = member("sender_bound") == Some(&Json::Bool(true));
    let sender = text("sender").filter(|_| bound);
    let signing_key = text("sender_ed25519").map(keys::ed25519).transpose()?;
    Ok(ReadingSession {
        room_id: room_id.to_owned(),
        session,
        sender: sender.map(str::to_owned),
        sender_signing_key: signing_key.map_or_else(String::new, |key| key.to_base64()),
        own: false,
    })
}

fn read_outbound(room_id: &str, found: &Json, key: &[u8; 32]) -> Result<ReadingSession> {
    let pickle = found.as_object().and_then(|found| found.get("session")).and_then(Json::as_str);
    let pickle = GroupSessionPickle::from_encrypted(pickle.unwrap_or_default(), key);
    let session = GroupSession::from_pickle(pickle.or_fail(Kind::Pickle, "A session")?);
    Ok(ReadingSession {
        room_id: room_id.to_owned(),
        session: megolm::inbound(&Zeroizing::new(session.session_key().to_base64()))?,
        sender: None,
        sender_signing_key: String::new(),
        own: true,
    })
}

fn foreign(message: String) -> Error {
    Error::new(Kind::StoreForeign, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{primitives::olm, store::scratch::Scratch};

    const KEY_BYTES: [u8; 32] = [7; 32];

    /// A store as mx.client writes it, with one session of each kind.
    struct Scene {
        scratch: Scratch,
        account: Account,
        peer: Account,
        inbound: InboundGroupSession,
        sessions: Value,
    }

    fn scene() -> Scene {
        let (mut account, peer) = (Account::new(), Account::new());
        account.generate_one_time_keys(2);
        let one_time_key = *account.one_time_keys().values().next().unwrap();
        let theirs = olm::outbound(&peer, account.curve25519_key(), one_time_key).unwrap();
        let ours = olm::outbound(&account, peer.curve25519_key(), peer.curve25519_key()).unwrap();
        let sending = megolm::outbound();
        let inbound = megolm::inbound(&megolm::outbound().session_key().to_base64()).unwrap();
        let peer_key = peer.curve25519_key().to_base64();
        let place = format!("!a|b:here|{}", inbound.session_id());
        let sessions = json!({
            "olm": {&peer_key: ours.pickle().encrypt(&KEY_BYTES)},
            "olm_in": {&peer_key: theirs.pickle().encrypt(&KEY_BYTES)},
            "megolm_out": {"!room:here":
                {"session": sending.pickle().encrypt(&KEY_BYTES), "shared": [&peer_key]}},
            "megolm_in": {place: {
                "session": inbound.pickle().encrypt(&KEY_BYTES),
                "sender": "@bob:here",
                "sender_ed25519": peer.ed25519_key().to_base64(),
                "sender_bound": true,
            }},
        });
        let scene = Scene { scratch: Scratch::new(), account, peer, inbound, sessions };
        scene.write(KEY, &KEY_BYTES);
        scene.write(ACCOUNT, format!("{}\n", scene.pickle()).as_bytes());
        scene.write_sessions(&scene.sessions);
        scene
    }

    impl Scene {
        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.scratch.path().join(name), bytes).unwrap();
        }

        fn write_sessions(&self, sessions: &Value) {
            self.write(SESSIONS, sessions.to_string().as_bytes());
        }

        fn pickle(&self) -> String {
            self.account.pickle().encrypt(&KEY_BYTES)
        }

        fn read(&self) -> Result<MxClientStore> {
            MxClientStore::read(self.scratch.path())
        }

        fn place(&self) -> String {
            format!("!a|b:here|{}", self.inbound.session_id())
        }
    }

    #[test]
    fn a_store_is_read_and_left_as_it_is() {
        let scene = scene();
        let read = scene.read().unwrap();
        assert_eq!(read.identity_keys().curve25519, scene.account.curve25519_key());
        assert_eq!(read.olm.len(), 2);
        assert!(read.refused.is_empty());
        let (theirs, own) = (&read.inbound[0], &read.inbound[1]);
        assert_eq!((theirs.room_id.as_str(), theirs.own), ("!a|b:here", false));
        assert_eq!(theirs.session.session_id(), scene.inbound.session_id());
        assert_eq!(theirs.sender.as_deref(), Some("@bob:here"));
        assert_eq!(theirs.sender_signing_key, scene.peer.ed25519_key().to_base64());
        assert_eq!((own.room_id.as_str(), own.own), ("!room:here", true));
        read.check_unchanged().unwrap();
        assert_eq!(fs::read_dir(scene.scratch.path()).unwrap().count(), 3);
    }

    #[test]
    fn later_shapes_are_read_too() {
        let scene = scene();
        let later = json!({"version": 1, "pickle": scene.pickle()});
        scene.write(ACCOUNT, later.to_string().as_bytes());
        let peer_key = scene.peer.curve25519_key().to_base64();
        let mut sessions = scene.sessions.clone();
        sessions["version"] = json!(1);
        let pickle = sessions["olm_in"][&peer_key].take();
        sessions["olm_in"][&peer_key] = json!([pickle, "damaged"]);
        sessions["key_requests"] = json!({"x": {"user_id": "@bob:here"}});
        scene.write_sessions(&sessions);
        let read = scene.read().unwrap();
        assert_eq!((read.olm.len(), read.inbound.len(), read.refused.len()), (2, 2, 1));
        for (name, version) in [(ACCOUNT, &later), (SESSIONS, &sessions)] {
            let mut newer = version.clone();
            newer["version"] = json!(2);
            scene.write(name, newer.to_string().as_bytes());
            assert_eq!(scene.read().err().map(|e| e.kind), Some(Kind::StoreForeign), "{name}");
            scene.write(name, version.to_string().as_bytes());
        }
    }

    #[test]
    fn early_shapes_are_read_too() {
        let scene = scene();
        let mut sessions = scene.sessions.clone();
        let pickle = sessions["megolm_in"][scene.place()]["session"].take();
        sessions["megolm_in"] = json!({scene.place(): pickle});
        for empty in [json!([]), json!({})] {
            sessions["olm"] = empty.clone();
            sessions["megolm_out"] = empty;
            scene.write_sessions(&sessions);
            let read = scene.read().unwrap();
            assert_eq!((read.olm.len(), read.inbound.len()), (1, 1));
            assert_eq!(
                (&read.inbound[0].sender, &*read.inbound[0].sender_signing_key),
                (&None, "")
            );
        }
        fs::remove_file(scene.scratch.path().join(SESSIONS)).unwrap();
        assert!(scene.read().unwrap().inbound.is_empty());
    }

    /// Fault C22: what stands under another id would take the place of a session.
    #[test]
    fn a_session_under_another_id_is_left_out() {
        let scene = scene();
        let mut sessions = scene.sessions.clone();
        let session = sessions["megolm_in"][scene.place()].take();
        let other = megolm::outbound().session_id();
        sessions["megolm_in"] = json!({format!("!a:here|{other}"): session, "x": "damaged"});
        scene.write_sessions(&sessions);
        let read = scene.read().unwrap();
        assert_eq!((read.inbound.len(), read.refused.len()), (1, 2));
        assert!(read.inbound[0].own);
    }

    #[test]
    fn a_sender_that_was_not_checked_is_none() {
        let scene = scene();
        let mut sessions = scene.sessions.clone();
        sessions["megolm_in"][scene.place()]["sender_bound"] = json!(false);
        scene.write_sessions(&sessions);
        assert_eq!(scene.read().unwrap().inbound[0].sender, None);
    }

    #[test]
    fn what_is_no_store_is_an_error() {
        let scene = scene();
        for (name, bytes) in [
            (KEY, &[7; 31][..]),
            (KEY, &[8; 32]),
            (ACCOUNT, b"damaged"),
            (ACCOUNT, b"{}"),
            (SESSIONS, b"[]"),
            (SESSIONS, b"{\"olm\": 5}"),
        ] {
            let path = scene.scratch.path().join(name);
            let before = fs::read(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            assert_eq!(scene.read().err().map(|e| e.kind), Some(Kind::StoreForeign), "{name}");
            fs::write(&path, before).unwrap();
        }
        fs::remove_file(scene.scratch.path().join(KEY)).unwrap();
        assert!(scene.read().is_err());
        assert!(!scene.scratch.path().join(KEY).exists());
    }

    #[test]
    fn a_store_in_use_is_noticed() {
        let scene = scene();
        let read = scene.read().unwrap();
        scene.write_sessions(&json!({"olm": {}}));
        assert_eq!(read.check_unchanged().unwrap_err().kind, Kind::StoreForeign);
    }
}
