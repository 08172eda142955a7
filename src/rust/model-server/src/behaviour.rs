//! How other homeservers differ from the specification, or from Synapse in one process.
//!
//! Each [`Deviation`] stands for a public report; `tests/README.md` lists them with their
//! addresses. All of them are here: the rest of the server does what the specification says, and
//! this file changes requests before it and responses after it. A few leave a promise that no
//! client can keep (a change that is told to nobody); a client must survive those, and say so.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::ModelServer;
use crate::error::Error;
use crate::event::MEMBER;
use crate::http::{Call, Request, Response};
use crate::room::{Membership, NOW};
use crate::token::Caller;

/// For how long the other workers do not see what one of them wrote.
const LAG_MS: u64 = 2_000;
/// The largest event, and the largest file, of the servers that refuse larger ones.
const MAX_EVENT: usize = 65_536;
const MAX_FILE: usize = 1 << 20;

/// One way in which a homeserver differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// A missing key backup is 500 instead of 404.
    MissingBackupIs500,
    /// The same without a body.
    MissingBackupIs500WithoutBody,
    /// A backup without keys is 404 with `M_UNKNOWN` instead of an empty object.
    EmptyBackupIs404,
    /// Neither syncs nor an empty upload tell how many one-time keys are left.
    NoKeyCounts,
    /// What is not built is the text `404 page not found`.
    UnknownIsPlainText,
    /// Account data that was never written is 404 with `M_FORBIDDEN`.
    MissingAccountDataIsForbidden,
    /// Every second sync tells again that everybody's devices changed.
    DevicesChangeAgain,
    /// There are no dehydrated devices.
    NoDehydratedDevices,
    /// Files are at the unauthenticated address alone.
    NoAuthenticatedMedia,
    /// Every sync brings the full state of each room.
    FullStateAlways,
    /// Whatever page of messages is asked for has an `end`, also the last one.
    PagesHaveAnEnd,
    /// Pending invitations are told by every sync.
    InvitationsAgain,
    /// An initial sync leaves out pending invitations.
    InvitationsForgotten,
    /// New cross-signing keys and signatures are not told as changes of devices.
    IdentityChangesUntold,
    /// Signatures of master keys of other users are accepted and lost.
    SignaturesOfUsersLost,
    /// What is too large is 413 with `M_UNKNOWN`.
    TooLargeIsUnknown,
    /// What is too large is refused by a proxy, with a page of HTML.
    TooLargeIsHtml,
    /// Some requests are 429 without a time to wait.
    LimitsWithoutTime,
    /// Device keys and first identities are seen by others after a while, and told then.
    KeysComeLate,
    /// Counts of one-time keys are those from before the last upload, for a while.
    KeyCountsComeLate,
    /// Some syncs are empty and lead back to where they began.
    EmptySyncs,
    /// The last event of a timeline comes again in the next sync of its room.
    EventsComeTwice,
    /// State events of a timeline are in the state before it as well.
    TimelineIsInState,
    /// Nobody is told that a device signed out.
    SignOutsUntold,
    /// There are no delayed events: one that is to be sent later is sent at once.
    NoDelayedEvents,
}

use Deviation::{
    DevicesChangeAgain, EmptyBackupIs404, EmptySyncs, EventsComeTwice, FullStateAlways,
    IdentityChangesUntold, InvitationsAgain, InvitationsForgotten, KeyCountsComeLate, KeysComeLate,
    LimitsWithoutTime, MissingAccountDataIsForbidden, MissingBackupIs500,
    MissingBackupIs500WithoutBody, NoAuthenticatedMedia, NoDehydratedDevices, NoDelayedEvents,
    NoKeyCounts, PagesHaveAnEnd, SignOutsUntold, SignaturesOfUsersLost, TimelineIsInState,
    TooLargeIsHtml, TooLargeIsUnknown, UnknownIsPlainText,
};

impl Deviation {
    /// All of them.
    pub const ALL: [Self; 25] = [
        MissingBackupIs500,
        MissingBackupIs500WithoutBody,
        EmptyBackupIs404,
        NoKeyCounts,
        UnknownIsPlainText,
        MissingAccountDataIsForbidden,
        DevicesChangeAgain,
        NoDehydratedDevices,
        NoAuthenticatedMedia,
        FullStateAlways,
        PagesHaveAnEnd,
        InvitationsAgain,
        InvitationsForgotten,
        IdentityChangesUntold,
        SignaturesOfUsersLost,
        TooLargeIsUnknown,
        TooLargeIsHtml,
        LimitsWithoutTime,
        KeysComeLate,
        KeyCountsComeLate,
        EmptySyncs,
        EventsComeTwice,
        TimelineIsInState,
        SignOutsUntold,
        NoDelayedEvents,
    ];
}

const SYNAPSE_WORKERS: &[Deviation] = &[
    KeysComeLate,
    KeyCountsComeLate,
    EmptySyncs,
    EventsComeTwice,
    TimelineIsInState,
    SignOutsUntold,
    InvitationsForgotten,
    TooLargeIsHtml,
];
const CONDUIT: &[Deviation] = &[
    MissingBackupIs500WithoutBody,
    EmptyBackupIs404,
    NoDehydratedDevices,
    NoDelayedEvents,
    IdentityChangesUntold,
    SignaturesOfUsersLost,
    TooLargeIsUnknown,
    LimitsWithoutTime,
    PagesHaveAnEnd,
];
const DENDRITE: &[Deviation] = &[
    MissingBackupIs500,
    NoKeyCounts,
    UnknownIsPlainText,
    MissingAccountDataIsForbidden,
    DevicesChangeAgain,
    NoDehydratedDevices,
    NoAuthenticatedMedia,
    FullStateAlways,
    InvitationsAgain,
    NoDelayedEvents,
];

/// The deviations of a server, and what it must remember for them.
#[derive(Default)]
pub struct Behaviour {
    deviations: BTreeSet<Deviation>,
    requests: u64,
    /// When what a user uploaded is seen by others: devices, and the identity under no device.
    seen_from: BTreeMap<(String, Option<String>), u64>,
    /// The users who are then told of.
    untold: Vec<(u64, String)>,
    /// By device: the counts that it is still told, and until when.
    counts: BTreeMap<(String, String), (Value, u64)>,
    readers: BTreeMap<(String, String), Reader>,
}

/// What one device was told.
#[derive(Default)]
struct Reader {
    syncs: u64,
    counts: Value,
    /// The last event of each room.
    last: BTreeMap<String, Value>,
}

impl Behaviour {
    /// That of a server of a kind: `synapse`, `synapse_workers`, `conduit` or `dendrite`.
    pub fn of_kind(kind: &str) -> Option<Self> {
        let deviations = match kind {
            "synapse" => &[],
            "synapse_workers" => SYNAPSE_WORKERS,
            "conduit" => CONDUIT,
            "dendrite" => DENDRITE,
            _ => return None,
        };
        Some(Self::new(deviations.iter().copied()))
    }

    /// That of a server with these deviations.
    pub fn new(deviations: impl IntoIterator<Item = Deviation>) -> Self {
        Self { deviations: deviations.into_iter().collect(), ..Self::default() }
    }

    /// The deviations.
    pub fn deviations(&self) -> impl Iterator<Item = Deviation> {
        self.deviations.iter().copied()
    }

    /// Whether a server differs in one way.
    pub fn has(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    fn is_hidden(&self, user: &str, device: Option<&str>, now: u64) -> bool {
        let place = (user.to_owned(), device.map(str::to_owned));
        self.seen_from.get(&place).is_some_and(|from| now < *from)
    }
}

/// The path of a request under `/_matrix/client/v3`.
fn client_path(call: &Call) -> Vec<String> {
    match call.path.as_slice() {
        [matrix, client, v3, path @ ..] if matrix == "_matrix" && client == "client" => {
            if v3 == "v3" || v3 == "r0" { path.to_vec() } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

impl ModelServer {
    /// From now on the server behaves like another one.
    pub fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
    }

    /// How the server behaves.
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    fn has(&self, deviation: Deviation) -> bool {
        self.behaviour.has(deviation)
    }

    /// The response to a request, as a server that does what the specification says gives it, and
    /// as this one does.
    pub(crate) fn respond(&mut self, now_ms: u64, request: &Request) -> Response {
        if self.behaviour.deviations.is_empty() {
            return self.conforming(&Call::new(now_ms, request));
        }
        let request = self.altered(request);
        let call = Call::new(now_ms, &request);
        self.tell_of_late_keys(now_ms);
        let me = self.authenticate(&call).ok();
        let path = client_path(&call);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(response) = self.refusal(&call, &path, me.as_ref()) {
            return response;
        }
        let changes = self.device_changes.len();
        let response = self.conforming(&call);
        if response.status == 200 {
            self.forget_changes(&path, changes);
        }
        let Some(me) = me else { return self.worded(&path, response) };
        if response.status != 200 {
            return self.worded(&path, response);
        }
        let mut body: Value = serde_json::from_str(&response.body).unwrap_or_default();
        match path.as_slice() {
            ["sync"] => self.alter_sync(&call, &me, &mut body),
            ["keys", "upload"] => self.alter_key_upload(&call, &me, changes, &mut body),
            ["keys", "device_signing", "upload"] => self.come_late(&me, true, call.now, changes),
            ["keys", "query"] => self.hide_late_keys(&me, call.now, &mut body),
            ["rooms", _, "messages"] if self.has(PagesHaveAnEnd) && body.get("end").is_none() => {
                let end = if call.query("dir") == Some("f") { self.position } else { 0 };
                body["end"] = json!(format!("s{end}"));
            }
            ["room_keys", "keys"]
                if self.has(EmptyBackupIs404)
                    && call.method == "GET"
                    && body["rooms"].as_object().is_some_and(Map::is_empty) =>
            {
                return Error::new(404, "M_UNKNOWN", "No room_keys found").into_response();
            }
            _ => {}
        }
        Response { status: 200, body: body.to_string() }
    }

    /// Whether events can be sent later.
    pub(crate) fn has_delayed_events(&self) -> bool {
        !self.has(NoDelayedEvents)
    }

    fn conforming(&mut self, call: &Call) -> Response {
        self.send_delayed_events(call.now);
        match self.route(call) {
            Ok(body) => Response { status: 200, body: body.to_string() },
            Err(error) => error.into_response(),
        }
    }

    /// The request as a server that differs reads it.
    fn altered<'a>(&self, request: &'a Request) -> Cow<'a, Request> {
        let call = Call::new(0, request);
        let path = client_path(&call);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["sync"] if self.has(FullStateAlways) => {
                let mark = if request.path.contains('?') { '&' } else { '?' };
                let path = format!("{}{mark}full_state=true", request.path);
                Cow::Owned(Request { path, ..request.clone() })
            }
            ["keys", "signatures", "upload"] if self.has(SignaturesOfUsersLost) => {
                let me = call.token.and_then(|token| self.user_with(token));
                let Ok(mut body) = call.object() else { return Cow::Borrowed(request) };
                body.retain(|user, _| Some(user.as_str()) == me.as_deref());
                let body = Value::Object(body).to_string().into_bytes();
                Cow::Owned(Request { body, ..request.clone() })
            }
            _ => Cow::Borrowed(request),
        }
    }

    /// What is refused before anybody looks at it.
    fn refusal(&mut self, call: &Call, path: &[&str], me: Option<&Caller>) -> Option<Response> {
        let is_dehydrated = call.path.iter().any(|part| part == "org.matrix.msc3814.v1");
        if is_dehydrated && self.has(NoDehydratedDevices) {
            return Some(self.worded(path, Error::unrecognized().into_response()));
        }
        let is_upload = call.path.last().is_some_and(|last| last == "upload")
            && call.path.iter().any(|part| part == "media");
        let is_event = matches!(path, ["rooms", _, "send", ..]);
        if is_upload && call.body.len() > MAX_FILE || is_event && call.body.len() > MAX_EVENT {
            if self.has(TooLargeIsHtml) {
                let body = "<html><head><title>413 Request Entity Too Large</title></head></html>";
                return Some(Response { status: 413, body: body.to_owned() });
            }
            if self.has(TooLargeIsUnknown) {
                let error = "Request body is too large";
                return Some(Error::new(413, "M_UNKNOWN", error).into_response());
            }
        }
        let me = me?;
        self.behaviour.requests += 1;
        if self.has(LimitsWithoutTime) && self.behaviour.requests.is_multiple_of(40) {
            let error = Error::new(429, "M_LIMIT_EXCEEDED", "Too many requests");
            return Some(error.into_response());
        }
        if path == ["sync"] && self.has(EmptySyncs) {
            let since = call.query("since")?.to_owned();
            let reader = self.behaviour.readers.entry(key(me)).or_default();
            reader.syncs += 1;
            if reader.syncs.is_multiple_of(4) {
                let body = json!({"next_batch": since, "device_one_time_keys_count": {}});
                return Some(Response { status: 200, body: body.to_string() });
            }
        }
        None
    }

    /// An error in the words of another server.
    fn worded(&self, path: &[&str], response: Response) -> Response {
        let is_error = |code: &str| response.body.contains(&format!("\"{code}\""));
        match path {
            ["room_keys", "version"] if response.status == 404 => {
                if self.has(MissingBackupIs500) {
                    return Error::new(500, "M_UNKNOWN", "Internal server error").into_response();
                }
                if self.has(MissingBackupIs500WithoutBody) {
                    return Response { status: 500, body: String::new() };
                }
            }
            ["user", .., "account_data", _]
                if is_error("M_NOT_FOUND") && self.has(MissingAccountDataIsForbidden) =>
            {
                return Error::new(404, "M_FORBIDDEN", "data not found").into_response();
            }
            _ => {}
        }
        if is_error("M_UNRECOGNIZED") && self.has(UnknownIsPlainText) {
            return Response { status: 404, body: "404 page not found\n".to_owned() };
        }
        response
    }

    /// Takes back that devices changed, where a server tells nobody.
    fn forget_changes(&mut self, path: &[&str], before: usize) {
        let untold = match path {
            ["keys", "device_signing" | "signatures", "upload"] => IdentityChangesUntold,
            ["logout", ..] | ["devices", _] | ["delete_devices"] => SignOutsUntold,
            _ => return,
        };
        if self.has(untold) {
            self.device_changes.truncate(before);
        }
    }

    fn alter_key_upload(&mut self, call: &Call, me: &Caller, before: usize, body: &mut Value) {
        let sent = call.object().unwrap_or_default();
        if sent.contains_key("device_keys") {
            self.come_late(me, false, call.now, before);
        }
        if self.has(KeyCountsComeLate) {
            let reader = self.behaviour.readers.entry(key(me)).or_default();
            let old = (reader.counts.clone(), call.now + LAG_MS);
            self.behaviour.counts.insert(key(me), old);
        }
        if self.has(NoKeyCounts) && sent.is_empty() {
            body["one_time_key_counts"] = json!({});
        }
    }

    /// Hides what was just uploaded for the first time, and that there is something new.
    fn come_late(&mut self, me: &Caller, is_identity: bool, now: u64, before: usize) {
        let place = (me.user.clone(), (!is_identity).then(|| me.device.clone()));
        if self.has(KeysComeLate) && !self.behaviour.seen_from.contains_key(&place) {
            self.behaviour.seen_from.insert(place, now + LAG_MS);
            self.behaviour.untold.push((now + LAG_MS, me.user.clone()));
            self.device_changes.truncate(before);
        }
    }

    fn tell_of_late_keys(&mut self, now: u64) {
        let untold = std::mem::take(&mut self.behaviour.untold);
        let (due, untold) = untold.into_iter().partition(|(from, _)| *from <= now);
        self.behaviour.untold = untold;
        for (_, user) in due {
            self.note_device_change(&user);
        }
    }

    /// Others do not see yet what was uploaded through another worker.
    fn hide_late_keys(&self, me: &Caller, now: u64, body: &mut Value) {
        for (user, device) in self.behaviour.seen_from.keys() {
            let own = *user == me.user && device.as_ref().is_none_or(|id| *id == me.device);
            if own || !self.behaviour.is_hidden(user, device.as_deref(), now) {
                continue;
            }
            let sections = match device {
                Some(_) => &["device_keys"][..],
                None => &["master_keys", "self_signing_keys", "user_signing_keys"][..],
            };
            for section in sections {
                let Some(section) = body.get_mut(section).and_then(Value::as_object_mut) else {
                    continue;
                };
                match device {
                    Some(id) => {
                        let devices = section.get_mut(user).and_then(Value::as_object_mut);
                        devices.map(|devices| devices.remove(id));
                    }
                    None => drop(section.remove(user)),
                }
            }
        }
    }

    fn alter_sync(&mut self, call: &Call, me: &Caller, body: &mut Value) {
        let since = call.query("since").is_some();
        if self.has(NoKeyCounts) {
            body.as_object_mut().map(|body| body.remove("device_one_time_keys_count"));
        }
        if since && self.has(DevicesChangeAgain) {
            self.change_devices_again(me, body);
        }
        self.alter_invitations(me, since, body);
        let (twice, in_state) = (self.has(EventsComeTwice), self.has(TimelineIsInState));
        let counts = body["device_one_time_keys_count"].clone();
        if self.has(KeyCountsComeLate)
            && let Some((old, until)) = self.behaviour.counts.get(&key(me))
            && call.now < *until
            && old.is_object()
        {
            body["device_one_time_keys_count"] = old.clone();
        }
        let reader = self.behaviour.readers.entry(key(me)).or_default();
        reader.counts = counts;
        let rooms = body["rooms"]["join"].as_object_mut();
        for (room, news) in rooms.into_iter().flatten() {
            let Some(events) = news["timeline"]["events"].as_array().cloned() else { continue };
            if in_state && let Some(state) = news["state"]["events"].as_array_mut() {
                state.extend(events.iter().filter(|e| e.get("state_key").is_some()).cloned());
            }
            let Some(last) = events.last().cloned() else { continue };
            let before = reader.last.insert(room.clone(), last);
            let is_new =
                |before: &Value| events.iter().all(|event| event["event_id"] != before["event_id"]);
            if let Some(before) = before.filter(|before| twice && since && is_new(before))
                && let Some(events) = news["timeline"]["events"].as_array_mut()
            {
                events.insert(0, before);
            }
        }
    }

    fn change_devices_again(&mut self, me: &Caller, body: &mut Value) {
        let sharing: Vec<Value> =
            self.sharing(&me.user, NOW).into_iter().map(|user| json!(user)).collect();
        let reader = self.behaviour.readers.entry(key(me)).or_default();
        reader.syncs += 1;
        if reader.syncs.is_multiple_of(2)
            && let Some(changed) = body["device_lists"]["changed"].as_array_mut()
        {
            changed.extend(sharing);
        }
    }

    fn alter_invitations(&self, me: &Caller, since: bool, body: &mut Value) {
        if !since && self.has(InvitationsForgotten) {
            body["rooms"]["invite"] = json!({});
        }
        if !self.has(InvitationsAgain) {
            return;
        }
        for room in self.rooms.values() {
            let own = room.state_event(MEMBER, &me.user, NOW);
            if let Some(own) = own.filter(|own| Membership::of(own) == Membership::Invite) {
                let state = json!({"invite_state": {"events": room.stripped_state(own)}});
                body["rooms"]["invite"][&room.id] = state;
            }
        }
    }
}

fn key(caller: &Caller) -> (String, String) {
    (caller.user.clone(), caller.device.clone())
}
