//! Uploading, querying and claiming the keys of devices.

use serde_json::{Map, Value, json};

use crate::ModelServer;
use crate::accounts::User;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object, expect_object, expect_texts};
use crate::one_time_keys::algorithm;
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn upload_keys(&mut self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let part = |name| body.object(name).map(Option::<&Object>::cloned);
        let identity = part("device_keys")?;
        let one_time = part("one_time_keys")?.unwrap_or_default();
        let fallback = part("fallback_keys")?.unwrap_or_default();
        if let Some(identity) = &identity {
            check_identity(me, identity)?;
        }
        for id in fallback.keys() {
            algorithm(id)?;
        }

        let device = self.device_of(me)?;
        device.one_time_keys.check(&one_time)?;
        device.one_time_keys.add(one_time)?;
        device.one_time_keys.set_fallback(fallback)?;
        let counts = json!(device.one_time_keys.counts());
        if identity.is_some() && identity != device.keys {
            device.keys = identity;
            self.note_device_change(&me.user);
        }
        Ok(json!({"one_time_key_counts": counts}))
    }

    pub(crate) fn query_keys(&self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let mut failures = Object::new();
        let mut devices = Object::new();
        let mut cross_signing = Map::new();
        for (id, wanted) in body.need_object("device_keys")? {
            let wanted = expect_texts(id, wanted)?;
            if let Some(server) = self.elsewhere(id) {
                failures.insert(server.to_owned(), unreachable());
            }
            let Some(user) = self.users.get(id) else { continue };
            devices.insert(id.clone(), shown_devices(id, user, &wanted, &me.user));
            for (kind, key) in user.cross_signing.shown_to(id, &me.user) {
                let section = cross_signing.entry(kind).or_insert_with(|| json!({}));
                section[id] = Value::Object(key);
            }
        }
        let mut answer = json!({"device_keys": devices, "failures": failures});
        for (kind, keys) in cross_signing {
            answer[format!("{kind}_keys")] = keys;
        }
        Ok(answer)
    }

    pub(crate) fn claim_keys(&mut self, call: &Call) -> Reply {
        let body = call.object()?;
        let mut failures = Object::new();
        let mut claimed = json!({});
        for (user, device, algorithm) in claims(&body)? {
            if let Some(server) = self.elsewhere(user) {
                failures.insert(server.to_owned(), unreachable());
            }
            let known = self.users.get_mut(user).and_then(|user| user.devices.get_mut(device));
            let key = known.and_then(|device| device.one_time_keys.claim(algorithm));
            if let Some((id, key)) = key {
                claimed[user][device] = json!({id: key});
            }
        }
        Ok(json!({"one_time_keys": claimed, "failures": failures}))
    }
}

/// The keys of a user's devices, all or those wanted, as a reader sees them.
fn shown_devices(owner: &str, user: &User, wanted: &[&str], reader: &str) -> Value {
    let is_wanted = |id: &str| wanted.is_empty() || wanted.contains(&id);
    let shown = user.devices.iter().filter(|(id, _)| is_wanted(id)).filter_map(|(id, device)| {
        let keys = device.keys.as_ref()?;
        let mut keys = user.cross_signing.with_signatures(keys, owner, id, reader);
        let name = device.display_name.as_ref();
        let unsigned = name.map_or(json!({}), |name| json!({"device_display_name": name}));
        keys.insert("unsigned".to_owned(), unsigned);
        Some((id.clone(), Value::Object(keys)))
    });
    shown.collect()
}

/// The claims of a request, as user, device and algorithm: all of them read before any is met.
fn claims(body: &Object) -> Result<Vec<(&str, &str, &str)>, Error> {
    let mut claims = Vec::new();
    for (user, devices) in body.need_object("one_time_keys")? {
        let devices = expect_object(user, devices)?;
        for device in devices.keys() {
            claims.push((user.as_str(), device.as_str(), devices.need_text(device)?));
        }
    }
    Ok(claims)
}

fn check_identity(me: &Caller, identity: &Object) -> Result<(), Error> {
    let is_own =
        identity.need_text("user_id")? == me.user && identity.need_text("device_id")? == me.device;
    if is_own { Ok(()) } else { Err(Error::invalid_param("device_keys are not of this device")) }
}

/// The failure that stands for every other server: there is no federation.
fn unreachable() -> Value {
    json!({"status": 503, "message": "No route to this server"})
}
