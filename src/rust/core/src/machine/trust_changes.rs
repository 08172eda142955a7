//! Tells handlers when the trust in a user or a device changes: as rows of the inbox, between the
//! events of rooms.

use std::collections::{BTreeMap, BTreeSet};

use super::{UserTrust, Work, devices, inbox, user_trust};
use crate::{
    error::Result,
    judgement::{
        room_event::NO_TIME,
        trust::{self, Trust},
    },
    primitives::canonical_json::{Json, Object},
    store::records::Event,
};

/// The types of the rows.
const USER_TRUST: &str = "mxcrypt.user_trust";
const DEVICE_TRUST: &str = "mxcrypt.device_trust";

/// What is known of a user and the user's devices.
struct Known {
    user: UserTrust,
    devices: BTreeMap<String, Trust>,
}

/// Does `change`, and tells what it changed in the trust in `users` and their devices.
pub(super) fn telling<T>(
    work: &mut Work<'_>,
    users: &[&str],
    change: impl FnOnce(&mut Work<'_>) -> Result<T>,
) -> Result<T> {
    let before = known_of_all(work, users)?;
    let done = change(work)?;
    for (user, before) in users.iter().zip(before) {
        // What is seen for the first time has not changed.
        if before.user.master_key.is_some() || !before.devices.is_empty() {
            tell(work, user, &before)?;
        }
    }
    Ok(done)
}

fn known_of_all(work: &Work<'_>, users: &[&str]) -> Result<Vec<Known>> {
    let users_set: BTreeSet<String> = users.iter().map(|user| (*user).to_owned()).collect();
    let mut identities = user_trust::judge_owners(work, &users_set)?;
    let mut devices = BTreeMap::<String, BTreeMap<String, Trust>>::new();
    for device in devices::devices_of_all(work, &users_set)? {
        if device.user_id != work.own.user_id || device.device_id != work.own.device_id {
            let trust = trust::of_device(&device, &*user_trust::owner(work, &device.user_id)?);
            devices.entry(device.user_id).or_default().insert(device.device_id, trust);
        }
    }
    let known = |user: &&str| {
        Ok(Known {
            user: user_trust::trust_by(work, user, identities.remove(*user))?,
            devices: devices.remove(*user).unwrap_or_default(),
        })
    };
    users.iter().map(known).collect()
}

fn tell(work: &Work<'_>, user_id: &str, before: &Known) -> Result<()> {
    let Some(now) = known_of_all(work, &[user_id])?.pop() else { return Ok(()) };
    if before.user.master_key.is_some() && now.user != before.user {
        let flag = |name: &str, value: bool| (name.to_owned(), Json::Bool(value));
        let content = Object::from([
            ("body".to_owned(), Json::String(sentence(user_id, &now.user))),
            ("user_id".to_owned(), Json::String(user_id.to_owned())),
            ("master_key".to_owned(), now.user.master_key.map_or(Json::Null, Json::String)),
            flag("verified", now.user.verified),
            flag("was_verified", now.user.was_verified),
            flag("needs_approval", now.user.changed),
        ]);
        hand_over_trust(work, USER_TRUST, user_id, content)?;
    }
    for (device_id, trust) in now.devices {
        let previous = before.devices.get(&device_id);
        // A login of our own user is news; those of others come and go.
        let is_news = previous.is_some() || user_id == work.own.user_id;
        if is_news && previous != Some(&trust) {
            let level = |level: &Trust| Json::String(level.as_str().to_owned());
            let body = match previous {
                Some(was) => format!(
                    "The device {device_id} of {user_id} is {} now; it was {}.",
                    trust.as_str(),
                    was.as_str()
                ),
                None => {
                    format!("A new login of yours: device {device_id}, {}.", trust.as_str())
                }
            };
            let content = Object::from([
                ("body".to_owned(), Json::String(body)),
                ("user_id".to_owned(), Json::String(user_id.to_owned())),
                ("device_id".to_owned(), Json::String(device_id)),
                ("trust".to_owned(), level(&trust)),
                ("previous".to_owned(), previous.map_or(Json::Null, level)),
            ]);
            hand_over_trust(work, DEVICE_TRUST, user_id, content)?;
        }
    }
    Ok(())
}

fn hand_over_trust(
    work: &Work<'_>,
    event_type: &str,
    user_id: &str,
    content: Object,
) -> Result<()> {
    // Nobody sent it: a server cannot make one, and it is of no room.
    inbox::hand_over(
        work,
        Event {
            event_type: event_type.to_owned(),
            state_key: Some(user_id.to_owned()),
            content: Json::Object(content).text()?,
            origin_server_ts: NO_TIME,
            ..Event::default()
        },
    )
}

fn sentence(user_id: &str, now: &UserTrust) -> String {
    let what = match (now.verified, now.changed, now.was_verified) {
        (true, ..) => "is verified now",
        (_, true, true) => "had been verified, and has another identity now",
        (_, true, false) => "has another identity now",
        (_, false, true) => "is not verified any more",
        (_, false, false) => "has an identity that is accepted, and not verified",
    };
    format!("{user_id} {what}.")
}
