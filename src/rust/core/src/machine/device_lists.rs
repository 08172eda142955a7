//! The devices of other users.
//!
//! Specification: client-server API, end-to-end encryption, "Tracking the device list for a user".

use std::collections::BTreeSet;

use super::{MINUTE, Machine, Millis, SECOND, Work};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        identifier,
        keys_query::{self, Verdict},
    },
    store::{
        Query,
        records::{Device, DeviceList, LocalTrust, Member, Room},
    },
};

/// The longest pause before an unreachable server is asked again.
const LONGEST_PAUSE: Millis = 15 * MINUTE;

/// The pause after `failures` failures in a row: it doubles from a second on.
pub(super) fn pause(failures: u32) -> Millis {
    SECOND.saturating_mul(1 << failures.min(20)).min(LONGEST_PAUSE)
}

impl Machine {
    /// Begins to track users, and has the devices of all of them asked for anew.
    ///
    /// # Errors
    /// [`Kind::Argument`] when one is no user id.
    pub fn refresh_devices(&mut self, user_ids: &[String]) -> Result<()> {
        if let Some(odd) = user_ids.iter().find(|user_id| !identifier::is_user_id(user_id)) {
            return Err(Error::new(Kind::Argument, format!("{odd} is no user id.")));
        }
        self.work(0, |work| {
            for user_id in user_ids {
                work.track(user_id)?;
                work.mark_outdated(user_id)?;
            }
            Ok(())
        })
    }

    /// Those of `user_ids` whose devices are not known, or not up to date.
    ///
    /// # Errors
    /// Those of the store.
    pub fn outdated(&mut self, user_ids: &[String]) -> Result<Vec<String>> {
        self.work(0, |work| {
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
        self.work(0, |work| {
            let mut devices = Vec::new();
            for user_id in user_ids {
                devices.extend(work.devices_of(user_id)?);
            }
            Ok(devices)
        })
    }
}

impl Work<'_> {
    /// Begins to track `user_id`, unless that was done before, and says what is known.
    pub(super) fn track(&self, user_id: &str) -> Result<DeviceList> {
        if let Some(list) = self.tx.get(&[user_id.into()])? {
            return Ok(list);
        }
        let list = DeviceList {
            user_id: user_id.to_owned(),
            outdated: true,
            generation: 0,
            failures: 0,
            retry_at: 0,
        };
        self.tx.put(&list)?;
        Ok(list)
    }

    /// Marks the devices of a user as outdated, if that user is tracked.
    pub(super) fn mark_outdated(&self, user_id: &str) -> Result<()> {
        if let Some(mut list) = self.tx.get::<DeviceList>(&[user_id.into()])? {
            list.outdated = true;
            list.generation += 1;
            list.retry_at = 0;
            self.tx.put(&list)?;
            // Nothing goes to the user's rooms before the question is answered.
            self.recipients_changed(user_id)?;
        }
        Ok(())
    }

    /// Marks all tracked users as outdated: changes may have been missed.
    pub(super) fn mark_all_outdated(&self) -> Result<()> {
        for list in self.tx.select::<DeviceList>(&Query::all())? {
            self.mark_outdated(&list.user_id)?;
        }
        Ok(())
    }

    /// Ends the tracking of a user. The devices are remembered.
    pub(super) fn untrack(&self, user_id: &str) -> Result<()> {
        if user_id == self.own.user_id {
            return Ok(());
        }
        self.tx.delete::<DeviceList>(&[user_id.into()])
    }

    /// The users to ask for now, each with the generation of the question.
    pub(super) fn outdated_users(&self) -> Result<Vec<(String, u64)>> {
        let outdated = self.tx.select::<DeviceList>(&Query::equal("outdated", 1))?;
        let due = outdated.into_iter().filter(|list| list.retry_at <= self.now);
        Ok(due.map(|list| (list.user_id, list.generation)).collect())
    }

    /// The devices of a user that can be given a room key.
    pub(super) fn devices_of(&self, user_id: &str) -> Result<Vec<Device>> {
        let devices = self.tx.select::<Device>(&Query::equal("user_id", user_id))?;
        Ok(devices.into_iter().filter(|device| !device.deleted).collect())
    }

    /// Takes in the answer to `/keys/query` about `asked`.
    pub(super) fn keys_query_answered(
        &mut self,
        asked: &[(String, u64)],
        body: &str,
    ) -> Result<()> {
        let users: BTreeSet<String> = asked.iter().map(|(user, _)| user.clone()).collect();
        let answer = keys_query::judge(body, &users)?;
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        self.telling(&names, |work| work.take_keys_answer(asked, answer))
    }

    fn take_keys_answer(
        &mut self,
        asked: &[(String, u64)],
        answer: keys_query::Answer,
    ) -> Result<()> {
        for identity in answer.identities {
            self.take_identity(identity)?;
        }
        let mut verdicts: Vec<Verdict> = answer.devices;
        for (user_id, generation) in asked {
            let of_user = verdicts.extract_if(.., |verdict| verdict.user_id == *user_id).collect();
            let unreachable =
                identifier::server_name(user_id).is_some_and(|s| answer.failures.contains(s));
            if unreachable && !answer.users.contains(user_id) {
                self.user_not_reached(user_id)?;
            } else {
                self.take_devices(user_id, of_user)?;
                self.clear_outdated(user_id, *generation)?;
            }
        }
        Ok(())
    }

    fn user_not_reached(&self, user_id: &str) -> Result<()> {
        if let Some(mut list) = self.tx.get::<DeviceList>(&[user_id.into()])? {
            list.retry_at = self.now + pause(list.failures);
            list.failures += 1;
            self.tx.put(&list)?;
        }
        Ok(())
    }

    fn clear_outdated(&self, user_id: &str, generation: u64) -> Result<()> {
        let Some(mut list) = self.tx.get::<DeviceList>(&[user_id.into()])? else { return Ok(()) };
        list.failures = 0;
        list.retry_at = 0;
        // A newer mark means that the user changed again while this question was under way.
        list.outdated = list.generation != generation;
        self.tx.put(&list)
    }

    fn take_devices(&mut self, user_id: &str, verdicts: Vec<Verdict>) -> Result<()> {
        let known = self.tx.select::<Device>(&Query::equal("user_id", user_id))?;
        let told: BTreeSet<&str> = verdicts.iter().map(|v| v.device_id.as_str()).collect();
        let mut changed = false;
        for mut device in known {
            if !device.deleted && !told.contains(device.device_id.as_str()) {
                device.deleted = true;
                self.tx.put(&device)?;
                changed = true;
            }
        }
        for verdict in &verdicts {
            changed |= self.take_device(verdict)?;
        }
        if changed { self.recipients_changed(user_id) } else { Ok(()) }
    }

    /// Says whether this changed who can be given a room key, or under which key.
    fn take_device(&mut self, verdict: &Verdict) -> Result<bool> {
        let Ok(keys) = &verdict.keys else { return Ok(false) };
        let known: Option<Device> =
            self.tx.get(&[verdict.user_id.as_str().into(), verdict.device_id.as_str().into()])?;
        let signing_key = keys.signing_key.to_base64();
        if verdict.user_id == self.own.user_id && verdict.device_id == self.own.device_id {
            return self.check_own_device(verdict, &signing_key, &keys.identity_key.to_base64());
        }
        if let Some(mut device) = known.clone()
            && device.signing_key != signing_key
        {
            // Another device took this one's name, or the server plays it. What is known stays.
            let news = !device.key_changed;
            device.key_changed = true;
            self.tx.put(&device)?;
            return Ok(news);
        }
        let device = Device {
            user_id: verdict.user_id.clone(),
            device_id: verdict.device_id.clone(),
            identity_key: keys.identity_key.to_base64(),
            signing_key,
            display_name: keys.display_name.clone(),
            device_keys: verdict.text.clone(),
            signed_by: verdict.signed_by.clone(),
            dehydrated: keys.dehydrated,
            local: known.as_ref().map_or(LocalTrust::Unset, |device| device.local),
            first_seen_at: known.as_ref().map_or(self.now, |device| device.first_seen_at),
            deleted: false,
            key_changed: known.as_ref().is_some_and(|device| device.key_changed),
            claim_failures: known.as_ref().map_or(0, |device| device.claim_failures),
            claim_retry_at: known.as_ref().map_or(0, |device| device.claim_retry_at),
            told_no_olm: known.as_ref().is_some_and(|device| device.told_no_olm),
        };
        let same = |known: &Device| {
            !known.deleted
                && known.identity_key == device.identity_key
                && known.signed_by == device.signed_by
                && known.dehydrated == device.dehydrated
        };
        let news = !known.as_ref().is_some_and(same);
        self.tx.put(&device)?;
        Ok(news)
    }

    /// A server that shows others another device under our name cuts us off from every new key.
    fn check_own_device(
        &mut self,
        verdict: &Verdict,
        signing_key: &str,
        identity_key: &str,
    ) -> Result<bool> {
        if signing_key != self.own.signing_key || identity_key != self.own.identity_key {
            self.key_upload_refused("It shows other keys under this device's name.")?;
            return Ok(false);
        }
        if let Some(mut own) = self.own_device()?
            && own.signed_by != verdict.signed_by
        {
            own.signed_by = verdict.signed_by.clone();
            self.tx.put(&own)?;
        }
        Ok(false)
    }

    /// Lets every room of this user work out anew who gets its key.
    pub(super) fn recipients_changed(&self, user_id: &str) -> Result<()> {
        for member in self.tx.select::<Member>(&Query::equal("user_id", user_id))? {
            if let Some(mut room) = self.tx.get::<Room>(&[member.room_id.as_str().into()])? {
                room.recipients_generation += 1;
                self.tx.put(&room)?;
            }
        }
        Ok(())
    }

    /// Why our own keys are not to be relied on, if they are not.
    pub(super) fn own_keys_conflict(&self) -> Result<Option<Error>> {
        let upload = self.tx.get_single::<crate::store::records::KeyUpload>()?;
        let conflict = upload.and_then(|upload| upload.conflict);
        Ok(conflict.map(|reason| Error::new(Kind::OwnKeys, reason)))
    }
}
