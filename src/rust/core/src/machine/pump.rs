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

use super::{HOUR, Machine, Millis, SECOND, Work, gaps::PAGE, room_keys::Sharing};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::unique_map::{UniqueMap, read_object},
    primitives::{
        account::{MEGOLM, SIGNED_CURVE25519},
        canonical_json::Json,
    },
    store::{
        Query, Record,
        records::{
            Ask, OutboundSession, OutboxBody, OutboxRow, OutboxState, Request, Room, SyncPosition,
        },
    },
};

/// How long a process has for a request before another may repeat it.
const LEASE: Millis = 10 * SECOND;
/// How many events of a room are encrypted and given out at a time.
const EVENTS_AT_A_TIME: usize = 100;
/// How many users one `/keys/query` asks for.
const USERS_PER_QUERY: usize = 250;
/// After this a server may have forgotten a transaction id, and would send the event twice.
const TRANSACTION_IDS_LAST: Millis = 12 * HOUR;
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

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The server answered.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It was performed, and no answer came: the server may have acted or not.
    NoAnswer,
    /// It was not performed.
    NotTried,
}

/// An answer that cannot be worked with, and that whoever waits must be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was asked.
    pub kind: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The error code of the server.
    pub code: String,
    /// What the server says.
    pub message: String,
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
            let mut pump = Pump::new(work)?;
            pump.upload_keys()?;
            if let Some(conflict) = pump.work.own_keys_conflict()? {
                return Err(conflict);
            }
            for room_id in pump.work.rooms_to_send_to()? {
                pump.send_to_room(&room_id)?;
            }
            pump.query_devices()?;
            pump.fill_gaps()?;
            Ok(pump.out)
        })
    }

    /// Takes in what came of requests. An answer that was replied to before, or whose question was
    /// asked anew since, is ignored.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replies(&mut self, now: Millis, replies: Vec<(i64, Reply)>) -> Result<Vec<Trouble>> {
        self.work(now, |work| {
            let mut troubles = Vec::new();
            for (number, reply) in replies {
                let Some(request) = work.tx.get::<Request>(&[number.into()])? else { continue };
                work.tx.delete::<Request>(&request.key())?;
                troubles.extend(work.take_reply(request.ask, reply)?);
            }
            Ok(troubles)
        })
    }
}

/// Percent-encodes `segments` into a path of the client-server API.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = "/_matrix/client/v3".to_owned();
    for segment in segments {
        path.push('/');
        percent_encode(segment, &mut path);
    }
    path
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The work of one call of [`Machine::requests`].
struct Pump<'a, 'b> {
    work: &'a mut Work<'b>,
    /// What is with the server now.
    busy: Vec<Ask>,
    out: Requests,
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

    fn is_busy(&self, same: impl Fn(&Ask) -> bool) -> bool {
        self.busy.iter().any(same)
    }

    fn ask(
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

    /// Does what can be done now for what waits to be sent to a room, a step at a time: room keys
    /// first, then events in their order; before the first event whatever it takes to know who
    /// reads it.
    fn send_to_room(&mut self, room_id: &str) -> Result<()> {
        let fixed = self.work.rows(room_id, OutboxState::Fixed)?;
        let (keys, events): (Vec<_>, Vec<_>) =
            fixed.into_iter().partition(|row| matches!(row.body, OutboxBody::RoomKeys { .. }));
        if !keys.is_empty() {
            return self.send_rows(keys);
        }
        let room = self.work.room(room_id)?;
        let events = self.work.refuse_plain(&room, events)?;
        if !events.is_empty() {
            return self.send_events_again(room_id, events);
        }
        let queued = self.work.queued(room_id, EVENTS_AT_A_TIME)?;
        let Some(first) = queued.first() else { return Ok(()) };
        match &first.body {
            OutboxBody::Event { demand_encryption, audience, plain_allowed, .. } => {
                if room.encryption.is_some() || *demand_encryption {
                    let audience = audience.clone();
                    return self.send_encrypted(&room, audience.as_ref(), queued);
                }
                if *plain_allowed { self.send_plain(queued) } else { self.ask_encryption(room_id) }
            }
            _ => self.send_plain(queued),
        }
    }

    /// Gives rows to the transport that no process has now.
    fn send_rows(&mut self, rows: Vec<OutboxRow>) -> Result<()> {
        for mut row in rows {
            let ask = Ask::Send { number: row.number };
            let Some((path, body)) = row.wire.clone() else { continue };
            if self.is_busy(|busy| *busy == ask) {
                continue;
            }
            row.attempts += 1;
            row.attempted_at = self.work.now;
            self.work.tx.put(&row)?;
            self.ask(ask, "PUT", path, Some(body))?;
        }
        Ok(())
    }

    /// Events that may have been sent already go before all others, and wait for each other.
    fn send_events_again(&mut self, room_id: &str, events: Vec<OutboxRow>) -> Result<()> {
        let position = self.work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
        let has_gap = self
            .work
            .open_gaps()?
            .iter()
            .any(|ask| matches!(ask, Ask::Gap { room_id: of, .. } if of == room_id));
        let too_old = |row: &OutboxRow| {
            let unseen = has_gap || position.committed_at <= row.attempted_at;
            row.attempted_at + TRANSACTION_IDS_LAST < self.work.now && unseen
        };
        let sending = |row: &OutboxRow| Ask::Send { number: row.number };
        if events.iter().any(|row| self.busy.contains(&sending(row))) {
            return Ok(());
        }
        if events.iter().any(too_old) {
            self.out.sync_first = true;
            return Ok(());
        }
        self.send_rows(events)
    }

    fn send_plain(&mut self, queued: Vec<OutboxRow>) -> Result<()> {
        let mut rows = Vec::new();
        for mut row in queued {
            if let OutboxBody::Event { plain_allowed: false, .. } = row.body {
                break;
            }
            self.work.fix_plain(&mut row)?;
            rows.push(row);
        }
        self.send_rows(rows)
    }

    fn send_encrypted(
        &mut self,
        room: &Room,
        audience: Option<&BTreeSet<String>>,
        queued: Vec<OutboxRow>,
    ) -> Result<()> {
        let room_id = room.room_id.as_str();
        let algorithm = room.encryption.as_ref().map_or(MEGOLM, |known| known.algorithm.as_str());
        if algorithm != MEGOLM {
            let message =
                format!("The room is encrypted with {algorithm}, which is not known here.");
            return self.work.refuse_queued(room_id, "MXCRYPT_UNKNOWN_ALGORITHM", &message);
        }
        if self.ask_about(room)? {
            return Ok(());
        }
        match self.work.share_room_key(room, audience)? {
            // They are asked for after all rooms had their turn, together.
            Sharing::WantsDevices => return Ok(()),
            Sharing::WantsOneTimeKeys(devices) => return self.claim_one_time_keys(devices),
            Sharing::ReachesNobody => {
                let message = "No device of anybody could be given the key: nobody could read it.";
                return self.work.refuse_queued(room_id, "MXCRYPT_REACHES_NOBODY", message);
            }
            Sharing::Done => {}
        }
        let fixed = self.work.rows(room_id, OutboxState::Fixed)?;
        if !fixed.is_empty() {
            return self.send_rows(fixed);
        }
        let left = self.messages_left(room)?;
        let mut rows = Vec::new();
        for mut row in queued.into_iter().take(left) {
            match &row.body {
                OutboxBody::Event { audience: of_row, .. } if of_row.as_ref() == audience => {
                    self.work.fix_encrypted(&mut row)?;
                }
                OutboxBody::Redaction { .. } => self.work.fix_plain(&mut row)?,
                _ => break,
            }
            rows.push(row);
        }
        self.send_rows(rows)
    }

    /// How many messages the session of a room may still encrypt.
    fn messages_left(&self, room: &Room) -> Result<usize> {
        let session: Option<OutboundSession> = self.work.tx.get(&[room.room_id.as_str().into()])?;
        let used = session.map_or(0, |session| u64::from(session.session.message_index()));
        let most = room.encryption.clone().unwrap_or_default().rotation_messages;
        Ok(usize::try_from(most.saturating_sub(used)).unwrap_or(usize::MAX))
    }

    fn ask_encryption(&mut self, room_id: &str) -> Result<()> {
        if self.is_busy(|ask| matches!(ask, Ask::Encryption { room_id: of, .. } if of == room_id)) {
            return Ok(());
        }
        let queued = self.work.rows(room_id, OutboxState::Queued)?;
        let up_to = queued.last().map_or(0, |row| row.number);
        let path = path(&["rooms", room_id, "state", "m.room.encryption"]);
        self.ask(Ask::Encryption { room_id: room_id.to_owned(), up_to }, "GET", path, None)
    }

    /// Asks what is not known of an encrypted room, and says whether something is missing.
    fn ask_about(&mut self, room: &Room) -> Result<bool> {
        let room_id = room.room_id.clone();
        if !room.visibility_known {
            let ask = Ask::HistoryVisibility { room_id: room_id.clone() };
            if !self.busy.contains(&ask) {
                let path = path(&["rooms", &room_id, "state", "m.room.history_visibility"]);
                self.ask(ask, "GET", path, None)?;
            }
        }
        if !room.members_known {
            let ask = Ask::Members { room_id: room_id.clone() };
            if !self.busy.contains(&ask) {
                self.ask(ask, "GET", path(&["rooms", &room_id, "members"]), None)?;
            }
        }
        Ok(!room.visibility_known || !room.members_known)
    }

    fn claim_one_time_keys(&mut self, devices: Vec<(String, String)>) -> Result<()> {
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
            if self.busy.contains(&ask) {
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

impl Work<'_> {
    fn take_reply(&mut self, ask: Ask, reply: Reply) -> Result<Option<Trouble>> {
        let (status, body) = match (&ask, reply) {
            (_, Reply::Answer { status, body }) => (status, body),
            (Ask::Send { number }, Reply::NotTried) => {
                if let Some(row) = self.waiting_row(*number)? {
                    self.not_attempted(row)?;
                }
                return Ok(None);
            }
            (_, Reply::NoAnswer | Reply::NotTried) => return Ok(None),
        };
        let trouble = trouble(ask.kind(), status, &body);
        let taken = match ask {
            Ask::Send { number } => self.send_answered(number, status, &body, &trouble),
            _ if status == 200 => self.take_answer(&ask, Some(&body)),
            Ask::Encryption { .. } | Ask::HistoryVisibility { .. } if trouble.is_absence() => {
                self.take_answer(&ask, None)
            }
            Ask::KeysUpload if trouble.is_final() => {
                self.key_upload_refused(&trouble.message)?;
                return Ok(None);
            }
            Ask::Gap { room_id, number, .. } if trouble.is_final() => {
                self.give_up_gap(&room_id, number, &trouble.message)?;
                return Ok(None);
            }
            Ask::Encryption { room_id, .. }
            | Ask::HistoryVisibility { room_id }
            | Ask::Members { room_id }
                if trouble.is_final() =>
            {
                self.refuse_queued(&room_id, &trouble.code, &trouble.message)?;
                return Ok(None);
            }
            _ => return Ok(Some(trouble)),
        };
        match taken {
            Ok(()) => Ok(None),
            Err(error) if error.kind == Kind::Answer => Ok(Some(Trouble {
                code: "MXCRYPT_BAD_ANSWER".into(),
                message: error.message,
                ..trouble
            })),
            Err(error) => Err(error),
        }
    }

    fn take_answer(&mut self, ask: &Ask, body: Option<&str>) -> Result<()> {
        let text = body.unwrap_or_default();
        match ask {
            Ask::KeysUpload => self.key_upload_accepted(text),
            Ask::KeysQuery { users } => self.keys_query_answered(users, text),
            Ask::KeysClaim { devices } => self.keys_claim_answered(devices, text),
            Ask::Encryption { room_id, up_to } => self.encryption_answered(room_id, *up_to, body),
            Ask::HistoryVisibility { room_id } => self.history_visibility_answered(room_id, body),
            Ask::Members { room_id } => self.members_answered(room_id, text),
            Ask::Gap { room_id, number, from } => self.gap_answered(room_id, *number, from, text),
            Ask::Send { .. } => Ok(()),
        }
    }

    fn waiting_row(&self, number: i64) -> Result<Option<OutboxRow>> {
        let row: Option<OutboxRow> = self.tx.get(&[number.into()])?;
        Ok(row.filter(|row| row.state == OutboxState::Fixed))
    }

    fn send_answered(
        &mut self,
        number: i64,
        status: u16,
        body: &str,
        trouble: &Trouble,
    ) -> Result<()> {
        let Some(row) = self.waiting_row(number)? else { return Ok(()) };
        let is_keys = matches!(row.body, OutboxBody::RoomKeys { .. });
        match status {
            200 if is_keys => self.tx.delete::<OutboxRow>(&row.key()),
            200 => {
                let answer: UniqueMap<Json> =
                    read_object(body).or_fail(Kind::Answer, "The answer to an event")?;
                let event_id = answer.0.get("event_id").and_then(Json::as_str);
                let event_id = event_id
                    .ok_or_else(|| Error::new(Kind::Answer, "An event was sent and has no id."))?;
                self.sent(row, event_id)
            }
            _ if trouble.is_final() && is_keys => {
                // Whoever should have got it did not, so the session must not be used.
                self.end_outbound_session(&row.room_id)?;
                self.refuse_queued(&row.room_id, &trouble.code, &trouble.message)?;
                self.tx.delete::<OutboxRow>(&row.key())
            }
            _ if trouble.is_final() => self.refuse(row, &trouble.code, &trouble.message),
            _ => Err(Error::new(Kind::Answer, trouble.message.clone())),
        }
    }
}

fn trouble(kind: &'static str, status: u16, body: &str) -> Trouble {
    let answer: UniqueMap<Json> = read_object(body).unwrap_or_default();
    let text = |name: &str| answer.0.get(name).and_then(Json::as_str).map(str::to_owned);
    Trouble {
        kind,
        status,
        code: text("errcode").unwrap_or_else(|| "M_UNKNOWN".into()),
        message: text("error").unwrap_or_else(|| format!("The server answered with {status}.")),
    }
}

impl Trouble {
    /// The same request would be refused again.
    fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && ![401, 408, 429].contains(&self.status)
    }

    fn is_absence(&self) -> bool {
        self.status == 404 && self.code == "M_NOT_FOUND"
    }
}
