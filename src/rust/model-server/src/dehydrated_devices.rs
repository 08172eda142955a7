//! A device that waits here, encrypted, for the next one of its user (MSC3814).

use serde_json::{Value, json};

use crate::ModelServer;
use crate::devices::Device;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::Fields;
use crate::token::Caller;

/// How many events one response holds, as with Synapse.
const BATCH: usize = 100;

/// Which of the devices of a user it is, and what it is restored from.
pub(crate) struct Dehydrated {
    pub(crate) device: String,
    data: Value,
}

impl ModelServer {
    pub(crate) fn route_dehydrated_device(
        &mut self,
        call: &Call,
        me: &Caller,
        path: &[&str],
    ) -> Reply {
        match (call.method, path) {
            ("PUT", ["dehydrated_device"]) => self.put_dehydrated_device(me, call),
            ("GET", ["dehydrated_device"]) => {
                let found = self.dehydrated(me)?;
                Ok(json!({"device_id": found.device, "device_data": found.data}))
            }
            ("DELETE", ["dehydrated_device"]) => {
                let device = self.dehydrated(me)?.device.clone();
                self.remove_device(&Caller { user: me.user.clone(), device: device.clone() });
                Ok(json!({"device_id": device}))
            }
            ("GET", ["dehydrated_device", device, "events"]) => {
                self.dehydrated_events(me, device, call)
            }
            _ => Err(Error::unrecognized()),
        }
    }

    fn dehydrated(&mut self, me: &Caller) -> Result<&Dehydrated, Error> {
        let none = || Error::not_found("No dehydrated device available");
        self.user_of(me)?.dehydrated.as_ref().ok_or_else(none)
    }

    fn put_dehydrated_device(&mut self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let device = body.need_text("device_id")?.to_owned();
        let data = body.need_object("device_data")?;
        data.need_text("algorithm")?;
        let mut made = Device {
            display_name: body.text("initial_device_display_name")?.map(str::to_owned),
            keys: Some(body.need_object("device_keys")?.clone()),
            ..Device::default()
        };
        let keys = |name| Ok::<_, Error>(body.object(name)?.cloned().unwrap_or_default());
        made.one_time_keys.add(keys("one_time_keys")?)?;
        made.one_time_keys.set_fallback(keys("fallback_keys")?)?;
        if let Some(old) = self.user_of(me)?.dehydrated.take() {
            self.remove_device(&Caller { user: me.user.clone(), device: old.device });
        }
        let user = self.user_of(me)?;
        user.devices.insert(device.clone(), made);
        let data = Value::Object(data.clone());
        user.dehydrated = Some(Dehydrated { device: device.clone(), data });
        self.note_device_change(&me.user);
        Ok(json!({"device_id": device}))
    }

    /// What it was sent stays, until it is replaced or deleted.
    fn dehydrated_events(&mut self, me: &Caller, device: &str, call: &Call) -> Reply {
        let from = call.number("from")?.map_or(0, |from| from as u64);
        if self.dehydrated(me).map_or(true, |found| found.device != device) {
            return Err(Error::forbidden("You may only fetch messages for your dehydrated device"));
        }
        let device = Caller { user: me.user.clone(), device: device.to_owned() };
        let mut waiting = self.device_of(&device)?.inbox.range(from + 1..);
        let batch: Vec<_> = waiting.by_ref().take(BATCH).collect();
        let events: Vec<&Value> = batch.iter().map(|(_, event)| *event).collect();
        let mut answer = json!({"events": events});
        if let (Some((position, _)), Some(_)) = (batch.last(), waiting.next()) {
            answer["next_batch"] = json!(position.to_string());
        }
        Ok(answer)
    }
}
