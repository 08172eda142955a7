//! Devices: listing, naming and deleting them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object, expect_texts};
use crate::one_time_keys::OneTimeKeys;
use crate::token::Caller;

#[derive(Default)]
pub(crate) struct Device {
    pub(crate) display_name: Option<String>,
    pub(crate) last_seen: u64,
    /// The device keys, as they were uploaded.
    pub(crate) keys: Option<Object>,
    pub(crate) one_time_keys: OneTimeKeys,
    /// To-device messages not yet acknowledged, by their position in the stream.
    pub(crate) inbox: BTreeMap<u64, Value>,
    /// Responses to requests with a transaction id, by their path.
    pub(crate) answers: BTreeMap<Vec<String>, Value>,
}

impl ModelServer {
    pub(crate) fn devices(&mut self, me: &Caller) -> Reply {
        let devices = &self.user_of(me)?.devices;
        let devices: Vec<Value> = devices.iter().map(|(id, device)| describe(id, device)).collect();
        Ok(json!({"devices": devices}))
    }

    pub(crate) fn device(&mut self, me: &Caller, id: &str) -> Reply {
        let device = self.user_of(me)?.devices.get(id);
        device.map(|device| describe(id, device)).ok_or_else(no_device)
    }

    pub(crate) fn rename_device(&mut self, me: &Caller, id: &str, call: &Call) -> Reply {
        let body = call.object()?;
        let device = self.user_of(me)?.devices.get_mut(id).ok_or_else(no_device)?;
        if let Some(name) = body.text("display_name")? {
            device.display_name = Some(name.to_owned());
            // Others see the name beside the keys.
            if device.keys.is_some() {
                self.note_device_change(&me.user);
            }
        }
        Ok(json!({}))
    }

    pub(crate) fn delete_device(&mut self, me: &Caller, id: &str, call: &Call) -> Reply {
        let body = call.object_or_empty()?;
        self.require_password(me, &body)?;
        self.remove_device(&Caller { user: me.user.clone(), device: id.to_owned() });
        Ok(json!({}))
    }

    pub(crate) fn delete_devices(&mut self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let devices = body.get("devices").ok_or_else(|| Error::missing_param("devices"))?;
        let devices = expect_texts("devices", devices)?;
        self.require_password(me, &body)?;
        for device in devices {
            self.remove_device(&Caller { user: me.user.clone(), device: device.to_owned() });
        }
        Ok(json!({}))
    }

    pub(crate) fn remove_device(&mut self, caller: &Caller) {
        self.tokens.revoke(caller);
        let Some(user) = self.users.get_mut(&caller.user) else { return };
        user.cross_signing.forget_signatures(&caller.device);
        user.dehydrated.take_if(|dehydrated| dehydrated.device == caller.device);
        if user.devices.remove(&caller.device).is_some_and(|device| device.keys.is_some()) {
            self.note_device_change(&caller.user);
        }
    }

    pub(crate) fn device_of(&mut self, caller: &Caller) -> Result<&mut Device, Error> {
        let gone = || Error::unknown_token("Unknown device", false);
        self.user_of(caller)?.devices.get_mut(&caller.device).ok_or_else(gone)
    }

    /// Repeats the first response to a request that is made again (the same path, and so the same
    /// transaction id), and does nothing else.
    pub(crate) fn once(
        &mut self,
        call: &Call,
        me: &Caller,
        act: impl FnOnce(&mut Self) -> Reply,
    ) -> Reply {
        if let Some(answer) = self.device_of(me)?.answers.get(&call.path) {
            return Ok(answer.clone());
        }
        let answer = act(self)?;
        self.device_of(me)?.answers.insert(call.path.clone(), answer.clone());
        Ok(answer)
    }
}

fn describe(id: &str, device: &Device) -> Value {
    let mut described = json!({"device_id": id, "last_seen_ts": device.last_seen});
    if let Some(name) = &device.display_name {
        described["display_name"] = Value::from(name.as_str());
    }
    described
}

fn no_device() -> Error {
    Error::not_found("No device with that id")
}
