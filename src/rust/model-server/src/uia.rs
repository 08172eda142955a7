//! User-interactive authentication: the one-stage flows that this server asks for.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::Error;
use crate::json::{Fields, Object};
use crate::token::Caller;

const DUMMY: &str = "m.login.dummy";
const PASSWORD: &str = "m.login.password";

impl ModelServer {
    /// Lets a registration through that says it means it.
    pub(crate) fn require_dummy(&mut self, body: &Object) -> Result<(), Error> {
        self.attempt(body, DUMMY).map(|_| ())
    }

    /// Lets a request through that carries the caller's password.
    pub(crate) fn require_password(&mut self, me: &Caller, body: &Object) -> Result<(), Error> {
        let auth = self.attempt(body, PASSWORD)?;
        let user = self.identified_user(&auth)?;
        let password = auth.need_text("password")?;
        if user == me.user && self.user_of(me)?.password == password {
            return Ok(());
        }
        let session = auth.text("session")?.map(str::to_owned);
        Err(self.challenge(PASSWORD, session, Some("Invalid password")))
    }

    /// The `auth` of the request, when it attempts the stage that is asked for.
    fn attempt(&mut self, body: &Object, stage: &str) -> Result<Object, Error> {
        let Some(auth) = body.object("auth")? else {
            return Err(self.challenge(stage, None, None));
        };
        let known = auth.text("session")?.is_none_or(|session| self.uia_sessions.contains(session));
        if known && auth.text("type")? == Some(stage) {
            return Ok(auth.clone());
        }
        Err(self.challenge(stage, None, None))
    }

    fn challenge(&mut self, stage: &str, session: Option<String>, error: Option<&str>) -> Error {
        let session = session.unwrap_or_else(|| format!("uia_{}", self.next("uia")));
        self.uia_sessions.insert(session.clone());
        let mut body = json!({"flows": [{"stages": [stage]}], "params": {}, "session": session});
        if let Some(error) = error {
            body["errcode"] = Value::from("M_FORBIDDEN");
            body["error"] = Value::from(error);
        }
        Error::challenge(body)
    }
}
