//! The key backup: versions, and what clients put into the newest one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object, expect_object};
use crate::token::Caller;

/// The backups of a user by version; the last one is the current one.
#[derive(Default)]
pub(crate) struct Backups {
    made: u64,
    versions: BTreeMap<u64, Backup>,
}

#[derive(Default)]
struct Backup {
    algorithm: Value,
    auth_data: Value,
    /// How often something changed.
    changes: u64,
    /// By room and session.
    keys: BTreeMap<String, BTreeMap<String, Object>>,
}

impl Backups {
    /// The backup named in the query, or in the path.
    fn get(&mut self, version: Option<&str>) -> Result<(u64, &mut Backup), Error> {
        let number = version.and_then(|text| text.parse().ok());
        let found = number.and_then(|number| Some((number, self.versions.get_mut(&number)?)));
        found.ok_or_else(|| Error::not_found("Unknown backup version"))
    }

    /// The current backup, which is the only one that is written to.
    fn current(&mut self, version: Option<&str>) -> Result<&mut Backup, Error> {
        let last = self.versions.last_entry();
        let current = last.ok_or_else(|| Error::not_found("Unknown backup version"))?;
        if version != Some(current.key().to_string().as_str()) {
            return Err(Error::wrong_backup(&current.key().to_string()));
        }
        Ok(current.into_mut())
    }
}

impl Backup {
    fn count(&self) -> usize {
        self.keys.values().map(BTreeMap::len).sum()
    }

    fn described(&self, version: u64) -> Value {
        json!({
            "version": version.to_string(),
            "algorithm": self.algorithm,
            "auth_data": self.auth_data,
            "count": self.count(),
            "etag": self.changes.to_string(),
        })
    }

    fn put(&mut self, room: &str, session: &str, key: &Object) -> Result<(), Error> {
        let is_worse = |known: &Object| Ok::<_, Error>(rank(known)? <= rank(key)?);
        let room = self.keys.entry(room.to_owned()).or_default();
        if room.get(session).map(is_worse).transpose()? != Some(true) {
            rank(key)?;
            room.insert(session.to_owned(), key.clone());
            self.changes += 1;
        }
        Ok(())
    }

    fn put_room(&mut self, room: &str, keys: &Object) -> Result<(), Error> {
        for (session, key) in keys.need_object("sessions")? {
            self.put(room, session, expect_object(session, key)?)?;
        }
        Ok(())
    }

    fn updated(&self) -> Value {
        json!({"etag": self.changes.to_string(), "count": self.count()})
    }
}

/// What decides between two keys of a session: the lower one is kept.
fn rank(key: &Object) -> Result<(bool, u64, u64), Error> {
    let number = |name: &str| {
        let wrong = || Error::bad_json(format!("{name} must be an integer"));
        key.get(name).and_then(Value::as_u64).ok_or_else(wrong)
    };
    key.need_object("session_data")?;
    let is_verified = key.flag("is_verified")?;
    Ok((!is_verified, number("first_message_index")?, number("forwarded_count")?))
}

impl ModelServer {
    pub(crate) fn route_key_backup(&mut self, call: &Call, me: &Caller, path: &[&str]) -> Reply {
        let backups = &mut self.user_of(me)?.backups;
        let version = call.query("version");
        match (call.method, path) {
            ("POST", ["version"]) => {
                let body = call.object()?;
                let algorithm = body.need_text("algorithm")?.into();
                let auth_data = Value::Object(body.need_object("auth_data")?.clone());
                backups.made += 1;
                let made = Backup { algorithm, auth_data, ..Backup::default() };
                backups.versions.insert(backups.made, made);
                Ok(json!({"version": backups.made.to_string()}))
            }
            ("GET", ["version"]) => {
                let current = backups.versions.iter().next_back();
                let missing = || Error::not_found("No current backup version");
                current.map(|(version, backup)| backup.described(*version)).ok_or_else(missing)
            }
            ("GET", ["version", version]) => {
                backups.get(Some(version)).map(|(version, backup)| backup.described(version))
            }
            ("PUT", ["version", version]) => {
                let body = call.object()?;
                let (_, backup) = backups.get(Some(version))?;
                if body.get("algorithm") != Some(&backup.algorithm) {
                    return Err(Error::invalid_param("Algorithm does not match"));
                }
                backup.auth_data = Value::Object(body.need_object("auth_data")?.clone());
                Ok(json!({}))
            }
            ("DELETE", ["version", version]) => {
                let (version, _) = backups.get(Some(version))?;
                backups.versions.remove(&version);
                Ok(json!({}))
            }
            ("PUT", ["keys", place @ ..]) => {
                let body = call.object()?;
                let backup = backups.current(version)?;
                match place {
                    [] => {
                        for (room, keys) in body.need_object("rooms")? {
                            backup.put_room(room, expect_object(room, keys)?)?;
                        }
                    }
                    [room] => backup.put_room(room, &body)?,
                    [room, session] => backup.put(room, session, &body)?,
                    _ => return Err(Error::unrecognized()),
                }
                Ok(backup.updated())
            }
            ("GET", ["keys", place @ ..]) => {
                let (_, backup) = backups.get(version)?;
                let room = |room: &BTreeMap<String, Object>| json!({ "sessions": room });
                match place {
                    [] => {
                        let rooms = backup.keys.iter().map(|(id, keys)| (id.clone(), room(keys)));
                        Ok(json!({"rooms": rooms.collect::<Object>()}))
                    }
                    [id] => Ok(room(backup.keys.get(*id).unwrap_or(&BTreeMap::new()))),
                    [id, session] => {
                        let key = backup.keys.get(*id).and_then(|room| room.get(*session));
                        let missing = || Error::not_found("No room_keys found");
                        key.map(|key| Value::Object(key.clone())).ok_or_else(missing)
                    }
                    _ => Err(Error::unrecognized()),
                }
            }
            ("DELETE", ["keys", place @ ..]) => {
                let (_, backup) = backups.get(version)?;
                match place {
                    [] => backup.keys.clear(),
                    [id] => drop(backup.keys.remove(*id)),
                    [id, session] => {
                        backup.keys.get_mut(*id).map(|room| room.remove(*session));
                    }
                    _ => return Err(Error::unrecognized()),
                }
                backup.changes += 1;
                Ok(backup.updated())
            }
            _ => Err(Error::unrecognized()),
        }
    }
}
