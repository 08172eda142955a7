//! The devices of other users.
//!
//! Specification: client-server API, end-to-end encryption, "Tracking the device list for a user".

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Machine, Millis, Work, devices,
    effects::{self, Effect},
    key_upload,
    pump::Pump,
    request_table::Body,
    tracking, trust_changes, user_trust,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        identifier,
        keys_query::{self, Verdict},
    },
    store::{
        Query,
        records::{Ask, Device, DeviceList, Lane, LocalTrust},
    },
};

/// How many devices of a user are named whose keys are refused: a server may invent them.
const MOST_REFUSED: usize = 20;

impl Machine {
    /// The devices of some users that the server returned and whose keys are refused: user id, device
    /// id, and why.
    ///
    /// # Errors
    /// Those of the store.
    pub fn refused_devices(
        &mut self,
        user_ids: &[String],
    ) -> Result<Vec<(String, String, String)>> {
        self.read(|work| {
            let mut refused = Vec::new();
            for user_id in user_ids {
                let list: Option<DeviceList> = work.tx.get(&[user_id.as_str().into()])?;
                for (device_id, why) in list.map(|list| list.refused).unwrap_or_default() {
                    refused.push((user_id.clone(), device_id, why));
                }
            }
            Ok(refused)
        })
    }

    /// Starts to track users, and requests the devices of all of them again.
    ///
    /// # Errors
    /// [`Kind::Argument`] when one is no user id.
    pub fn refresh_devices(&mut self, now: Millis, user_ids: &[String]) -> Result<()> {
        if let Some(odd) = user_ids.iter().find(|user_id| !identifier::is_user_id(user_id)) {
            return Err(Error::new(Kind::Argument, format!("{odd} is no user id.")));
        }
        self.work(now, |work| {
            for user_id in user_ids {
                tracking::track(work, user_id)?;
                tracking::mark_outdated(work, user_id)?;
            }
            Ok(())
        })
    }

    /// Those of `user_ids` whose devices are not known, or not up to date.
    ///
    /// # Errors
    /// Those of the store.
    pub fn outdated(&mut self, user_ids: &[String]) -> Result<Vec<String>> {
        self.read(|work| {
            let mut outdated = Vec::new();
            for user_id in user_ids {
                if work.tx.get::<DeviceList>(&[user_id.as_str().into()])?.is_none_or(|l| l.outdated)
                {
                    outdated.push(user_id.clone());
                }
            }
            Ok(outdated)
        })
    }

    /// The devices of users, as far as they are known.
    ///
    /// # Errors
    /// Those of the store.
    pub fn devices(&mut self, user_ids: &[String]) -> Result<Vec<Device>> {
        self.read(|work| {
            let mut devices = Vec::new();
            for user_id in user_ids {
                devices.extend(devices::devices_of(work, user_id)?);
            }
            Ok(devices)
        })
    }
}

/// Applies the response to `/keys/query` about `asked`.
pub(super) fn keys_query_answered(
    work: &mut Work<'_>,
    asked: &[(String, u64)],
    body: &str,
) -> Result<()> {
    let users: BTreeSet<String> = asked.iter().map(|(user, _)| user.clone()).collect();
    let mut answer = keys_query::judge(body, &users)?;
    let lists: Vec<DeviceList> =
        work.tx.select_among("user_id", users.iter().map(String::as_str))?;
    let lists: BTreeMap<&str, &DeviceList> =
        lists.iter().map(|list| (list.user_id.as_str(), list)).collect();
    // A newer response was applied since: a late one must not undo it.
    let is_late = |(user, generation): &&(String, u64)| {
        let list = lists.get(user.as_str());
        list.is_some_and(|list| !list.outdated || list.applied >= *generation)
    };
    let (late, asked): (Vec<_>, Vec<_>) = asked.iter().partition(is_late);
    let late: BTreeSet<&String> = late.into_iter().map(|(user, _)| user).collect();
    answer.identities.retain(|identity| !late.contains(&identity.user_id));
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    trust_changes::telling(work, &names, |work| take_keys_answer(work, &asked, answer))
}

fn take_keys_answer(
    work: &mut Work<'_>,
    asked: &[&(String, u64)],
    answer: keys_query::Answer,
) -> Result<()> {
    for identity in answer.identities {
        user_trust::take_identity(work, identity)?;
    }
    let mut verdicts = BTreeMap::<String, Vec<Verdict>>::new();
    for verdict in answer.devices {
        verdicts.entry(verdict.user_id.clone()).or_default().push(verdict);
    }
    for (user_id, generation) in asked {
        let of_user = verdicts.remove(user_id).unwrap_or_default();
        // The user's server was not reached, or their part could not be read. Neither says that
        // they have no devices: what is known stays, and is requested again.
        if !answer.users.contains(user_id) {
            tracking::user_not_reached(work, user_id)?;
        } else {
            take_devices(work, user_id, of_user)?;
            clear_outdated(work, user_id, *generation)?;
        }
    }
    Ok(())
}

fn clear_outdated(work: &Work<'_>, user_id: &str, generation: u64) -> Result<()> {
    let Some(mut list) = work.tx.get::<DeviceList>(&[user_id.into()])? else { return Ok(()) };
    list.failures = 0;
    list.retry_at = 0;
    list.applied = generation;
    // A newer mark means that the user changed again while this request was under way.
    list.outdated = list.generation != generation;
    work.tx.put(&list)
}

fn take_devices(work: &mut Work<'_>, user_id: &str, verdicts: Vec<Verdict>) -> Result<()> {
    let known = work.tx.select::<Device>(&Query::equal("user_id", user_id))?;
    let told: BTreeSet<&str> = verdicts.iter().map(|v| v.device_id.as_str()).collect();
    let mut changed = false;
    let mut still_there = BTreeMap::new();
    for mut device in known {
        if told.contains(device.device_id.as_str()) {
            still_there.insert(device.device_id.clone(), device);
        } else if !device.deleted {
            device.deleted = true;
            work.tx.put(&device)?;
            changed = true;
        }
    }
    for verdict in &verdicts {
        changed |= take_device(work, verdict, still_there.remove(&verdict.device_id))?;
    }
    changed |= note_refused(work, user_id, &verdicts)?;
    if changed {
        effects::push(work, Effect::RecipientsChanged { user_id: user_id.to_owned() });
    }
    Ok(())
}

/// Remembers the devices whose keys are refused: they can read nothing, and their owner and the
/// senders should hear of it. Returns whether they differ from those before.
fn note_refused(work: &Work<'_>, user_id: &str, verdicts: &[Verdict]) -> Result<bool> {
    let Some(mut list) = work.tx.get::<DeviceList>(&[user_id.into()])? else {
        return Ok(false);
    };
    let mut refused = BTreeMap::new();
    for verdict in verdicts {
        let Err(error) = &verdict.keys else { continue };
        let key = [user_id.into(), verdict.device_id.as_str().into()];
        let is_own = user_id == work.own.user_id && verdict.device_id == work.own.device_id;
        // One that is known keeps its keys.
        if !is_own && refused.len() < MOST_REFUSED && work.tx.get::<Device>(&key)?.is_none() {
            refused.insert(verdict.device_id.clone(), error.message.clone());
        }
    }
    if list.refused == refused {
        return Ok(false);
    }
    list.refused = refused;
    work.tx.put(&list)?;
    Ok(true)
}

/// Applies a verdict on a device, which is `known` already or not. Returns whether this changed who can be given a room
/// key, or under which key.
fn take_device(work: &mut Work<'_>, verdict: &Verdict, known: Option<Device>) -> Result<bool> {
    let Ok(keys) = &verdict.keys else { return Ok(false) };
    let signing_key = keys.signing_key.to_base64();
    if verdict.user_id == work.own.user_id && verdict.device_id == work.own.device_id {
        return check_own_device(work, verdict, &signing_key, &keys.identity_key.to_base64());
    }
    if let Some(mut device) = known.clone()
        && device.signing_key != signing_key
    {
        // Another device took this one's name, or the server pretends so. What is known stays.
        let news = !device.key_changed;
        device.key_changed = true;
        work.tx.put(&device)?;
        return Ok(news);
    }
    let identity_key = keys.identity_key.to_base64();
    // What is recorded of claimed one-time keys holds only while both keys are the same.
    let same_keys = known.as_ref().filter(|known| known.identity_key == identity_key);
    let device = Device {
        user_id: verdict.user_id.clone(),
        device_id: verdict.device_id.clone(),
        identity_key,
        signing_key,
        display_name: keys.display_name.clone(),
        device_keys: verdict.text.clone(),
        signed_by: verdict.signed_by.clone(),
        dehydrated: keys.dehydrated,
        local: known.as_ref().map_or(LocalTrust::Unset, |device| device.local),
        first_seen_at: known.as_ref().map_or(work.now, |device| device.first_seen_at),
        deleted: false,
        key_changed: known.as_ref().is_some_and(|device| device.key_changed),
        claim_failures: same_keys.map_or(0, |device| device.claim_failures),
        claim_retry_at: same_keys.map_or(0, |device| device.claim_retry_at),
        told_no_olm: same_keys.is_some_and(|device| device.told_no_olm),
    };
    let same = |known: &Device| {
        !known.deleted
            && known.identity_key == device.identity_key
            && known.signed_by == device.signed_by
            && known.dehydrated == device.dehydrated
    };
    let news = !known.as_ref().is_some_and(same);
    work.tx.put(&device)?;
    Ok(news)
}

/// A server that shows others another device under our name cuts us off from every new key.
fn check_own_device(
    work: &mut Work<'_>,
    verdict: &Verdict,
    signing_key: &str,
    identity_key: &str,
) -> Result<bool> {
    if signing_key != work.own.signing_key || identity_key != work.own.identity_key {
        key_upload::key_upload_refused(work, "It shows other keys under this device's name.")?;
        return Ok(false);
    }
    if let Some(mut own) = devices::own_device(work)?
        && own.signed_by != verdict.signed_by
    {
        own.signed_by = verdict.signed_by.clone();
        work.tx.put(&own)?;
    }
    Ok(false)
}

/// Why our own keys are not to be relied on, if they are not.
pub(super) fn own_keys_conflict(work: &Work<'_>) -> Result<Option<Error>> {
    let upload = work.tx.get_single::<crate::store::records::KeyUpload>()?;
    let conflict = upload.and_then(|upload| upload.conflict);
    Ok(conflict.map(|reason| Error::new(Kind::OwnKeys, reason)))
}

/// Requests that a caller waits for are made on their own: a user for whom the request fails keeps
/// nobody else waiting.
pub(super) fn request_awaited(pump: &mut Pump<'_, '_>) -> Result<()> {
    let caller: BTreeSet<String> = pump.awaited.users.iter().cloned().collect();
    let asked = under_way(pump);
    let mut users = tracking::outdated_users(pump.work)?;
    users.retain(|(user, generation)| match asked.get(user) {
        None => true,
        // What a caller asks for is what the server returns from now on. A response to an older request is not
        // that.
        Some(newest) if caller.contains(user) => {
            pump.out.under_way |= newest == generation;
            newest != generation
        }
        Some(_) => false,
    });
    let rooms = std::mem::take(&mut pump.unknown).into_iter();
    let rooms = rooms.map(|(room_id, users)| (Lane::Room(room_id), users));
    for (lane, wanted) in std::iter::once((Lane::Caller, caller)).chain(rooms) {
        let of_lane = users.extract_if(.., |(user_id, _)| wanted.contains(user_id));
        query_devices_of(pump, of_lane.collect(), lane)?;
        pump.waiting.extend(wanted);
    }
    Ok(())
}

/// Requests the devices of all other users that are outdated. One request per user at a time: a response that is
/// under way may already be older than the next mark.
pub(super) fn request(pump: &mut Pump<'_, '_>) -> Result<()> {
    let asked = under_way(pump);
    let mut users = tracking::outdated_users(pump.work)?;
    users.retain(|(user, _)| !asked.contains_key(user) && !pump.waiting.contains(user));
    query_devices_of(pump, users, Lane::Side)
}

/// The users whose devices are being requested, with the newest generation of these requests.
fn under_way(pump: &Pump<'_, '_>) -> BTreeMap<String, u64> {
    let mut asked = BTreeMap::new();
    for ask in &pump.busy {
        let Ask::KeysQuery { users, .. } = ask else { continue };
        for (user, generation) in users {
            let newest = asked.entry(user.clone()).or_insert(*generation);
            *newest = (*newest).max(*generation);
        }
    }
    asked
}

fn query_devices_of(pump: &mut Pump<'_, '_>, users: Vec<(String, u64)>, lane: Lane) -> Result<()> {
    let query = |users: &[_]| Ask::KeysQuery { users: users.to_vec(), lane: lane.clone() };
    let most = pump.largest_batch(&query(&[]))?;
    for users in users.chunks(most) {
        if pump.is_full() {
            break;
        }
        pump.ask(query(users), Body::Implied)?;
    }
    Ok(())
}
