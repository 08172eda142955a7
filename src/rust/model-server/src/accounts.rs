//! Users: registration, login and logout.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::account_data::AccountData;
use crate::cross_signing::CrossSigning;
use crate::dehydrated_devices::Dehydrated;
use crate::devices::Device;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::key_backup::Backups;
use crate::token::Caller;

/// The longest user id of the specification, in bytes.
const MAX_USER_ID: usize = 255;

#[derive(Default)]
pub(crate) struct User {
    pub(crate) password: String,
    pub(crate) profile: Object,
    pub(crate) devices: BTreeMap<String, Device>,
    pub(crate) dehydrated: Option<Dehydrated>,
    pub(crate) cross_signing: CrossSigning,
    pub(crate) account_data: AccountData,
    pub(crate) backups: Backups,
    pub(crate) filters: Vec<Value>,
}

/// What registration and login are both asked about the device.
struct Session {
    device: Option<String>,
    display_name: Option<String>,
    refreshable: bool,
}

impl Session {
    fn read(body: &Object) -> Result<Self, Error> {
        Ok(Self {
            device: body.text("device_id")?.filter(|id| !id.is_empty()).map(str::to_owned),
            display_name: body.text("initial_device_display_name")?.map(str::to_owned),
            refreshable: body.flag("refresh_token")?,
        })
    }
}

impl ModelServer {
    pub(crate) fn register(&mut self, call: &Call) -> Reply {
        if call.query("kind") == Some("guest") {
            return Err(Error::forbidden("Guest access is disabled"));
        }
        let body = call.object()?;
        let localpart = self.free_localpart(body.text("username")?)?;
        self.require_dummy(&body)?;
        let password = body.need_text("password")?.to_owned();
        let inhibit_login = body.flag("inhibit_login")?;
        let session = Session::read(&body)?;
        let user_id = format!("@{localpart}:{}", self.name);
        let mut user = User { password, ..User::default() };
        user.profile.insert("displayname".to_owned(), Value::from(localpart));
        self.users.insert(user_id.clone(), user);
        if inhibit_login {
            return Ok(json!({"user_id": user_id, "home_server": self.name}));
        }
        self.open_session(user_id, session, call.now)
    }

    fn free_localpart(&mut self, wanted: Option<&str>) -> Result<String, Error> {
        let Some(wanted) = wanted else {
            return Ok(self.next("user").to_string());
        };
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._=/+-".contains(c);
        if wanted.is_empty() || !wanted.chars().all(allowed) {
            let error = "User ID can only contain characters a-z, 0-9, or '._=/+-'";
            return Err(Error::new(400, "M_INVALID_USERNAME", error));
        }
        let id = format!("@{wanted}:{}", self.name);
        if id.len() > MAX_USER_ID {
            return Err(Error::new(400, "M_INVALID_USERNAME", "User ID is too long"));
        }
        if self.users.contains_key(&id) {
            return Err(Error::new(400, "M_USER_IN_USE", "User ID already taken."));
        }
        Ok(wanted.to_owned())
    }

    pub(crate) fn log_in(&mut self, call: &Call) -> Reply {
        let body = call.object()?;
        match body.need_text("type")? {
            "m.login.password" => {}
            other => {
                return Err(Error::new(400, "M_UNKNOWN", format!("Unknown login type {other}")));
            }
        }
        let refused = || Error::forbidden("Invalid username or password");
        let user = self.identified_user(&body)?;
        let password = body.need_text("password")?;
        if self.users.get(&user).ok_or_else(refused)?.password != password {
            return Err(refused());
        }
        self.open_session(user, Session::read(&body)?, call.now)
    }

    /// The user that an `identifier`, or the older `user`, speaks of.
    pub(crate) fn identified_user(&self, body: &Object) -> Result<String, Error> {
        let Some(identifier) = body.object("identifier")? else {
            return Ok(self.full_user_id(body.need_text("user")?));
        };
        match identifier.need_text("type")? {
            "m.id.user" => Ok(self.full_user_id(identifier.need_text("user")?)),
            _ => Err(Error::new(400, "M_UNKNOWN", "Unknown login identifier type")),
        }
    }

    fn full_user_id(&self, user: &str) -> String {
        if user.starts_with('@') { user.to_owned() } else { format!("@{user}:{}", self.name) }
    }

    /// Gives a device new tokens; those it had before are void, its keys stay.
    fn open_session(&mut self, user: String, session: Session, now: u64) -> Reply {
        let device = session.device.unwrap_or_else(|| self.free_device_id(&user));
        let caller = Caller { user, device };
        let new = || Device { display_name: session.display_name, ..Device::default() };
        let devices = &mut self.user_of(&caller)?.devices;
        devices.entry(caller.device.clone()).or_insert_with(new).last_seen = now;
        self.tokens.revoke(&caller);
        let mut answer = self.grant(&caller, now, session.refreshable);
        answer.insert("user_id".to_owned(), Value::from(caller.user));
        answer.insert("device_id".to_owned(), Value::from(caller.device));
        answer.insert("home_server".to_owned(), Value::from(self.name.as_str()));
        Ok(Value::Object(answer))
    }

    fn free_device_id(&mut self, user_id: &str) -> String {
        loop {
            let id = format!("DEVICE{}", self.next("device"));
            if !self.users.get(user_id).is_some_and(|user| user.devices.contains_key(&id)) {
                return id;
            }
        }
    }

    pub(crate) fn log_out(&mut self, me: &Caller) -> Reply {
        self.remove_device(me);
        Ok(json!({}))
    }

    pub(crate) fn log_out_everywhere(&mut self, me: &Caller) -> Reply {
        let devices: Vec<String> = self.user_of(me)?.devices.keys().cloned().collect();
        for device in devices {
            self.remove_device(&Caller { user: me.user.clone(), device });
        }
        Ok(json!({}))
    }

    pub(crate) fn user_of(&mut self, caller: &Caller) -> Result<&mut User, Error> {
        let gone = || Error::unknown_token("Unknown user", false);
        self.users.get_mut(&caller.user).ok_or_else(gone)
    }

    /// The server that a user id names, when it is not this one.
    pub(crate) fn elsewhere<'a>(&self, user: &'a str) -> Option<&'a str> {
        user.split_once(':').map(|(_, server)| server).filter(|server| *server != self.name)
    }
}
