//! Which endpoint a request is for.
//!
//! Who calls is worked out first and handed on as a result, so that an unknown endpoint is 404
//! with or without a token, and a known one asks for the token before it looks at the body.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::delayed_events::{DELAY, LONGEST_MS};
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn route(&mut self, call: &Call) -> Reply {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match (call.method, path.as_slice()) {
            ("GET", [".well-known", "matrix", "client"]) => Err(Error::not_found("Not found")),
            ("GET", ["_matrix", "client", "versions"]) => Ok(self.versions()),
            ("POST", ["_matrix", "media", "v3", "upload"]) => {
                self.authenticate(call)?;
                self.upload_file(call)
            }
            (_, ["_matrix", "client", "v3" | "r0", path @ ..]) => {
                let me = self.authenticate(call);
                self.route_client(call, me, path)
            }
            (_, ["_matrix", "client", "unstable", "org.matrix.msc3814.v1", path @ ..]) => {
                let me = self.authenticate(call)?;
                self.route_dehydrated_device(call, &me, path)
            }
            (_, ["_matrix", "client", "v1", "delayed_events", path @ ..])
            | (
                _,
                [
                    "_matrix",
                    "client",
                    "unstable",
                    "org.matrix.msc4140",
                    "delayed_events",
                    path @ ..,
                ],
            ) if self.has_delayed_events() => self.route_delayed_events(call, path),
            _ => Err(Error::unrecognized()),
        }
    }

    fn versions(&self) -> Value {
        let versions: Vec<String> = (1..=15).map(|minor| format!("v1.{minor}")).collect();
        let mut features = json!({});
        if self.has_delayed_events() {
            features["org.matrix.msc4140"] = json!(true);
        }
        json!({"versions": versions, "unstable_features": features})
    }

    fn capabilities(&self) -> Value {
        let mut capabilities = json!({});
        if self.has_delayed_events() {
            capabilities["org.matrix.msc4140.delayed_events"] = json!({"max_delay_ms": LONGEST_MS});
        }
        json!({ "capabilities": capabilities })
    }

    fn route_client(&mut self, call: &Call, me: Result<Caller, Error>, path: &[&str]) -> Reply {
        match (call.method, path) {
            ("POST", ["register"]) => self.register(call),
            ("GET", ["login"]) => Ok(json!({"flows": [{"type": "m.login.password"}]})),
            ("POST", ["login"]) => self.log_in(call),
            ("POST", ["refresh"]) => self.refresh(call),
            ("POST", ["logout"]) => self.log_out(&me?),
            ("POST", ["logout", "all"]) => self.log_out_everywhere(&me?),
            ("GET", ["account", "whoami"]) => Ok(who_am_i(&me?)),

            ("GET", ["capabilities"]) => me.map(|_| self.capabilities()),

            ("GET", ["devices"]) => self.devices(&me?),
            ("GET", ["devices", device]) => self.device(&me?, device),
            ("PUT", ["devices", device]) => self.rename_device(&me?, device, call),
            ("DELETE", ["devices", device]) => self.delete_device(&me?, device, call),
            ("POST", ["delete_devices"]) => self.delete_devices(&me?, call),

            ("GET", ["profile", user]) => self.profile(user),
            ("GET", ["profile", user, field]) => self.profile_field(user, field),
            ("PUT", ["profile", user, field]) => self.set_profile(&me?, user, field, call),

            ("GET", ["sync"]) => self.sync(&me?, call),
            ("POST", ["user", user, "filter"]) => self.add_filter(&me?, user, call),
            ("GET", ["user", user, "filter", id]) => self.filter(&me?, user, id),
            ("GET", ["user", user, "account_data", kind]) => {
                self.account_data(&me?, user, None, kind)
            }
            ("PUT", ["user", user, "account_data", kind]) => {
                self.set_account_data(&me?, user, None, kind, call)
            }
            ("GET", ["user", user, "rooms", room, "account_data", kind]) => {
                self.account_data(&me?, user, Some(room), kind)
            }
            ("PUT", ["user", user, "rooms", room, "account_data", kind]) => {
                self.set_account_data(&me?, user, Some(room), kind, call)
            }
            ("PUT", ["sendToDevice", kind, _]) => {
                let me = me?;
                self.once(call, &me, |server| server.send_to_device(&me, kind, call))
            }

            ("POST", ["createRoom"]) => self.create_room(&me?, call),
            ("GET", ["joined_rooms"]) => Ok(self.joined_rooms(&me?)),
            ("GET", ["directory", "room", alias]) => self.room_alias(alias),
            ("POST", ["join", room]) => self.join(&me?, room, call),
            ("POST", ["knock", room]) => self.knock(&me?, room, call),
            (_, ["rooms", room, path @ ..]) => self.route_room(call, me, room, path),
            (_, ["keys", path @ ..]) => self.route_keys(call, me, path),
            (_, ["room_keys", path @ ..]) => self.route_key_backup(call, &me?, path),
            _ => Err(Error::unrecognized()),
        }
    }

    fn route_room(
        &mut self,
        call: &Call,
        me: Result<Caller, Error>,
        room: &str,
        path: &[&str],
    ) -> Reply {
        match (call.method, path) {
            ("POST", ["join"]) => self.join(&me?, room, call),
            ("POST", ["leave"]) => self.leave(&me?, room, call),
            ("POST", ["forget"]) => self.forget(&me?, room),
            ("POST", ["invite"]) => self.invite(&me?, room, call),
            ("POST", ["kick"]) => self.kick(&me?, room, call),
            ("POST", ["ban"]) => self.ban(&me?, room, call),
            ("POST", ["unban"]) => self.unban(&me?, room, call),

            ("GET", ["members"]) => self.members(&me?, room, call),
            ("GET", ["joined_members"]) => self.joined_members(&me?, room),
            ("GET", ["state"]) => self.whole_state(&me?, room),
            ("GET", ["state", kind]) => self.state(&me?, room, kind, "", call),
            ("GET", ["state", kind, key]) => self.state(&me?, room, kind, key, call),
            ("PUT", ["state", kind]) => self.set_state(&me?, room, kind, "", call),
            ("PUT", ["state", kind, key]) => self.set_state(&me?, room, kind, key, call),
            ("GET", ["event", event]) => self.event(&me?, room, event),
            ("GET", ["messages"]) => self.messages(&me?, room, call),

            ("PUT", ["send", kind, _])
                if call.query(DELAY).is_some() && self.has_delayed_events() =>
            {
                let me = me?;
                self.once(call, &me, |server| server.delay_by_query(&me, room, kind, call))
            }
            ("PUT", ["delayed_event", kind, _]) if self.has_delayed_events() => {
                let me = me?;
                self.once(call, &me, |server| server.delay_by_body(&me, room, kind, call))
            }
            ("PUT", ["send", kind, _]) => {
                let me = me?;
                self.once(call, &me, |server| server.send(&me, room, kind, call))
            }
            ("PUT", ["redact", event, _]) => {
                let me = me?;
                self.once(call, &me, |server| server.redact(&me, room, event, call))
            }
            ("POST", ["read_markers"] | ["receipt", _, _]) | ("PUT", ["typing", _]) => {
                me?;
                call.object_or_empty().map(|_| json!({}))
            }
            _ => Err(Error::unrecognized()),
        }
    }

    fn route_keys(&mut self, call: &Call, me: Result<Caller, Error>, path: &[&str]) -> Reply {
        match (call.method, path) {
            ("POST", ["upload"]) => self.upload_keys(&me?, call),
            ("POST", ["query"]) => self.query_keys(&me?, call),
            ("POST", ["claim"]) => self.claim_keys(me.map(|_| call)?),
            ("GET", ["changes"]) => self.key_changes(&me?, call),
            ("POST", ["device_signing", "upload"]) => self.upload_cross_signing(&me?, call),
            ("POST", ["signatures", "upload"]) => self.upload_signatures(&me?, call),
            _ => Err(Error::unrecognized()),
        }
    }
}

fn who_am_i(me: &Caller) -> Value {
    json!({"user_id": me.user, "device_id": me.device, "is_guest": false})
}
