//! A small Matrix homeserver that lives inside the process.
//!
//! [`ModelServer`] serves the part of the client-server API that an end-to-end encrypted client
//! needs, without a network, a clock or randomness: the same requests always get the same
//! responses. It carries simulations of the crypto core, and examples that must run anywhere. It is
//! no homeserver for people: passwords are kept as they came, and there is no federation.
//!
//! ```
//! use mxcrypt_model_server::{ModelServer, Request};
//!
//! let mut server = ModelServer::new("demo");
//! let response = server.handle(
//!     0,
//!     &Request {
//!         method: "POST".into(),
//!         path: "/_matrix/client/v3/register".into(),
//!         token: None,
//!         body: br#"{"username": "alice", "password": "pw", "auth": {"type": "m.login.dummy"}}"#.to_vec(),
//!     },
//! );
//! assert_eq!(response.status, 200);
//! assert!(response.body.contains("@alice:demo"));
//! ```

#![forbid(unsafe_code)]

mod account_data;
mod accounts;
mod behaviour;
mod cross_signing;
mod dehydrated_devices;
mod delayed_events;
mod device_lists;
mod devices;
mod error;
mod event;
mod filter;
mod http;
mod json;
mod key_backup;
mod key_signatures;
mod keys;
mod knock;
mod media;
mod membership;
mod messages;
mod one_time_keys;
mod power;
mod profile;
mod redaction;
mod render;
mod room;
mod room_creation;
mod room_state;
mod route;
mod seen;
mod send;
mod sync;
mod sync_room;
mod timeline;
mod to_device;
mod token;
mod uia;
mod visibility;

use std::collections::{BTreeMap, BTreeSet};

use accounts::User;
pub use behaviour::{Behaviour, Deviation};
use delayed_events::DelayedEvent;
use device_lists::Change;
pub use http::{Request, Response};
use room::Room;
use seen::Seen;
use token::Tokens;

/// A homeserver held in memory. See the [crate documentation](crate).
pub struct ModelServer {
    name: String,
    /// The last position given out in the one stream of everything a sync can tell.
    position: u64,
    issued: BTreeMap<&'static str, u64>,
    users: BTreeMap<String, User>,
    rooms: BTreeMap<String, Room>,
    aliases: BTreeMap<String, String>,
    tokens: Tokens,
    uia_sessions: BTreeSet<String>,
    device_changes: Vec<Change>,
    files: Vec<Vec<u8>>,
    delayed_events: Vec<DelayedEvent>,
    seen: Seen,
    behaviour: Behaviour,
}

impl ModelServer {
    /// An empty server whose user ids end in `:server_name`.
    pub fn new(server_name: &str) -> Self {
        Self {
            name: server_name.to_owned(),
            position: 0,
            issued: BTreeMap::new(),
            users: BTreeMap::new(),
            rooms: BTreeMap::new(),
            aliases: BTreeMap::new(),
            tokens: Tokens::default(),
            uia_sessions: BTreeSet::new(),
            device_changes: Vec::new(),
            files: Vec::new(),
            delayed_events: Vec::new(),
            seen: Seen::default(),
            behaviour: Behaviour::default(),
        }
    }

    /// Responds to one request at the time `now_ms` (milliseconds since the epoch; the server has
    /// no clock of its own). Whatever the bytes, there is a response.
    pub fn handle(&mut self, now_ms: u64, request: &Request) -> Response {
        self.seen.push(&request.body);
        self.respond(now_ms, request)
    }

    /// The request bodies received so far, oldest first: everything an observer of the server
    /// learns. Beyond 64 MiB the oldest are dropped.
    pub fn seen(&self) -> impl Iterator<Item = &[u8]> {
        self.seen.bodies()
    }

    /// Takes the next position in the stream.
    fn advance(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// Counts what is named by number: `next("room")` is 1, 2, ...
    fn next(&mut self, kind: &'static str) -> u64 {
        let count = self.issued.entry(kind).or_default();
        *count += 1;
        *count
    }
}

impl Default for ModelServer {
    /// The server named `demo`.
    fn default() -> Self {
        Self::new("demo")
    }
}
