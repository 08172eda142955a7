//! To-device messages: queued for each device until it has them for certain.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, expect_object};
use crate::token::Caller;

/// How many messages one sync holds, as the specification recommends.
const BATCH: usize = 100;

impl ModelServer {
    pub(crate) fn send_to_device(&mut self, me: &Caller, kind: &str, call: &Call) -> Reply {
        let body = call.object()?;
        let mut letters = Vec::new();
        for (user, devices) in body.need_object("messages")? {
            for (device, content) in expect_object(user, devices)? {
                expect_object(device, content)?;
                letters.push((user, device, content));
            }
        }
        for (user, device, content) in letters {
            let message = json!({"type": kind, "sender": me.user, "content": content});
            self.deliver(user, device, &message);
        }
        Ok(json!({}))
    }

    /// Puts a message into the inbox of a device, or of all devices; who is unknown gets none.
    fn deliver(&mut self, user: &str, device: &str, message: &Value) {
        let position = self.advance();
        let Some(user) = self.users.get_mut(user) else { return };
        let devices = user.devices.iter_mut().filter(|(id, _)| device == "*" || *id == device);
        for (_, device) in devices {
            device.inbox.insert(position, message.clone());
        }
    }

    /// Forgets the messages that a device received: it came back with the token it got with them.
    pub(crate) fn acknowledge(&mut self, me: &Caller, until: u64) -> Result<(), Error> {
        self.device_of(me)?.inbox.retain(|position, _| *position > until);
        Ok(())
    }

    /// The oldest waiting messages, and the position up to which these are all.
    pub(crate) fn waiting_messages(&mut self, me: &Caller) -> Result<(Vec<Value>, u64), Error> {
        let end = self.position;
        let inbox = &self.device_of(me)?.inbox;
        let messages = inbox.values().take(BATCH).cloned().collect();
        let last = inbox.keys().take(BATCH).next_back().filter(|_| inbox.len() > BATCH);
        Ok((messages, last.copied().unwrap_or(end)))
    }
}
