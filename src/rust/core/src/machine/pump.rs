//! Requests out, replies in.
//!
//! [`Machine::requests`] says what must be asked of the server now, in the order in which it must
//! be sent. Whoever performs them reports with [`Machine::replies`] and asks again, until nothing
//! is left. Each request is leased for a while to the process that got it: another process does
//! not repeat it meanwhile, and would do no harm if it did.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::json;

use super::{
    HOUR, Machine, Millis, SECOND, Work,
    gaps::PAGE,
    path::{path, percent_encode},
};
use crate::{
    error::Result,
    primitives::account::SIGNED_CURVE25519,
    store::{
        Query, Record,
        records::{Ask, Request},
    },
};

/// How long a process has for a request before another may repeat it.
const LEASE: Millis = 10 * SECOND;
/// Once so many requests are given out, the others wait for the next call: replies come when all were
/// performed, and should come before the leases run out.
pub(super) const AT_A_TIME: usize = 50;
/// How many users one `/keys/query` asks for.
const USERS_PER_QUERY: usize = 250;
/// After this a server may have forgotten a transaction id, and would send the event twice.
pub(super) const TRANSACTION_IDS_LAST: Millis = 12 * HOUR;
/// How long the server may wait for other servers, in milliseconds.
const FEDERATION_TIMEOUT: u64 = 10_000;

/// A request to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// The number to reply under.
    pub number: i64,
    /// What it is about, for a message.
    pub kind: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, percent-encoded, with its query.
    pub path: String,
    /// The body, as JSON text.
    pub body: Option<String>,
}

/// What to do now.
#[derive(Debug, Default)]
pub struct Requests {
    /// To perform, in this order.
    pub requests: Vec<WireRequest>,
    /// Something old is to be sent again, and whether it was sent must first be seen in a sync.
    pub sync_first: bool,
}

impl Machine {
    /// The requests to perform now. None when there is nothing to do, or nothing that another
    /// process is not doing.
    ///
    /// # Errors
    /// [`Kind::OwnKeys`] when the server holds other keys under this device's name: nothing sent
    /// from here could be relied on.
    pub fn requests(&mut self, now: Millis) -> Result<Requests> {
        self.work(now, |work| {
            if let Some(conflict) = work.own_keys_conflict()? {
                return Err(conflict);
            }
            let mut pump = Pump::new(work)?;
            pump.upload_keys()?;
            pump.repair_olm_sessions()?;
            pump.answer_key_requests()?;
            pump.ask_for_keys()?;
            pump.answer_secret_requests()?;
            pump.ask_for_secrets()?;
            pump.pursue_verifications()?;
            pump.search_backup()?;
            pump.share_key_bundles()?;
            pump.fetch_key_bundles()?;
            pump.send_to_devices()?;
            for room_id in pump.work.rooms_to_send_to()? {
                if pump.out.requests.len() < AT_A_TIME {
                    pump.send_to_room(&room_id)?;
                }
            }
            pump.query_devices()?;
            pump.fill_gaps()?;
            pump.back_up_keys()?;
            pump.look_at_backup()?;
            Ok(pump.out)
        })
    }
}

/// The work of one call of [`Machine::requests`].
pub(super) struct Pump<'a, 'b> {
    pub(super) work: &'a mut Work<'b>,
    /// What is with the server now.
    pub(super) busy: Vec<Ask>,
    pub(super) out: Requests,
}

impl<'a, 'b> Pump<'a, 'b> {
    fn new(work: &'a mut Work<'b>) -> Result<Self> {
        let mut busy = Vec::new();
        for request in work.tx.select::<Request>(&Query::all())? {
            if request.leased_until > work.now {
                busy.push(request.ask);
            } else if !matches!(request.ask, Ask::Send { .. }) {
                // A late answer to a question that is asked anew must not undo the newer one. A
                // late answer to something sent is as good as an early one.
                work.tx.delete::<Request>(&request.key())?;
            } else if request.leased_until + TRANSACTION_IDS_LAST < work.now {
                work.tx.delete::<Request>(&request.key())?;
            }
        }
        Ok(Self { work, busy, out: Requests::default() })
    }

    pub(super) fn is_busy(&self, same: impl Fn(&Ask) -> bool) -> bool {
        self.busy.iter().any(same)
    }

    pub(super) fn ask(
        &mut self,
        ask: Ask,
        method: &'static str,
        path: String,
        body: Option<String>,
    ) -> Result<()> {
        let number = self.work.tx.take_number("request")?;
        let kind = ask.kind();
        let leased_until = self.work.now + LEASE;
        self.work.tx.put(&Request { number, ask: ask.clone(), leased_until })?;
        self.busy.push(ask);
        self.out.requests.push(WireRequest { number, kind, method, path, body });
        Ok(())
    }

    fn upload_keys(&mut self) -> Result<()> {
        if self.is_busy(|ask| *ask == Ask::KeysUpload) {
            return Ok(());
        }
        match self.work.due_key_upload()? {
            Some(body) => self.ask(Ask::KeysUpload, "POST", path(&["keys", "upload"]), Some(body)),
            None => Ok(()),
        }
    }

    pub(super) fn claim_one_time_keys(&mut self, devices: Vec<(String, String)>) -> Result<()> {
        let claimed = |device: &(String, String)| {
            self.is_busy(
                |ask| matches!(ask, Ask::KeysClaim { devices } if devices.contains(device)),
            )
        };
        let devices: Vec<_> = devices.into_iter().filter(|device| !claimed(device)).collect();
        if devices.is_empty() {
            return Ok(());
        }
        let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (user_id, device_id) in &devices {
            wanted.entry(user_id).or_default().insert(device_id, SIGNED_CURVE25519);
        }
        let body = json!({"timeout": FEDERATION_TIMEOUT, "one_time_keys": wanted}).to_string();
        let path = path(&["keys", "claim"]);
        self.ask(Ask::KeysClaim { devices }, "POST", path, Some(body))
    }

    /// One question a user at a time: an answer that is under way may already be older than the
    /// next mark.
    fn query_devices(&mut self) -> Result<()> {
        let asked: BTreeSet<String> = self
            .busy
            .iter()
            .filter_map(|ask| match ask {
                Ask::KeysQuery { users } => Some(users.iter().map(|(user, _)| user.clone())),
                _ => None,
            })
            .flatten()
            .collect();
        let mut users = self.work.outdated_users()?;
        users.retain(|(user, _)| !asked.contains(user));
        for users in users.chunks(USERS_PER_QUERY) {
            let wanted: BTreeMap<&str, [&str; 0]> =
                users.iter().map(|(user, _)| (user.as_str(), [])).collect();
            let body = json!({"timeout": FEDERATION_TIMEOUT, "device_keys": wanted}).to_string();
            let ask = Ask::KeysQuery { users: users.to_vec() };
            self.ask(ask, "POST", path(&["keys", "query"]), Some(body))?;
        }
        Ok(())
    }

    fn fill_gaps(&mut self) -> Result<()> {
        for ask in self.work.open_gaps()? {
            let Ask::Gap { room_id, number, .. } = &ask else { continue };
            if self.busy.contains(&ask) || self.out.requests.len() >= AT_A_TIME {
                continue;
            }
            let Some((from, to)) = self.work.gap(room_id, *number)? else { continue };
            let mut path = path(&["rooms", room_id, "messages"]);
            for (name, value) in [("?dir=f&from=", &from), ("&to=", &to)] {
                path.push_str(name);
                percent_encode(value, &mut path);
            }
            let _ = write!(path, "&limit={PAGE}");
            self.ask(ask, "GET", path, None)?;
        }
        Ok(())
    }
}
