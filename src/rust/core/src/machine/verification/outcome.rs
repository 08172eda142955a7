//! What follows from a verification: the other side's keys are relied on, and signed for all our
//! devices.

use super::{Step, Stop};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        unique_map::{UniqueMap, read_object},
        verification::Cancel,
    },
    machine::{Work, path::path, pump::Pump},
    primitives::{
        canonical_json::{Json, Object},
        cross_signing::Usage,
    },
    store::{
        Query,
        records::{Ask, Device, Identity, LocalTrust, Owed, Phase, Proven, Verification},
    },
};

impl Work<'_> {
    /// Whether what follows from verifying a user could be kept.
    pub(super) fn check_can_verify(&self, user_id: &str) -> Result<()> {
        if user_id == self.own.user_id || self.can_sign(Usage::UserSigning)? {
            return Ok(());
        }
        Err(Error::new(
            Kind::Identity,
            "This device cannot sign for you, and so cannot verify others. Run mx_crypto_setup() first.",
        ))
    }

    /// Whether this device holds a private key of our identity, which is the one the server shows.
    fn can_sign(&self, usage: Usage) -> Result<bool> {
        let own = self.own_identity()?;
        let shown = self.identity(&self.own.user_id)?;
        let is_ours = self.trust_in_user(&self.own.user_id)?.verified;
        Ok(is_ours && self.holds(&own.private, shown.as_ref(), usage))
    }

    /// Our user was convinced, and the other side proved that it holds these of its keys.
    pub(super) fn conclude(&mut self, flow: &mut Verification, proven: Proven) -> Step {
        // What was verified must still be what the server shows.
        if flow.keys != Some(self.keys_of(flow)?) {
            return Err(Cancel::KeyMismatch.into());
        }
        self.send_message(flow, "done", Object::new())?;
        flow.phase = Phase::Done(proven);
        let is_own = flow.user_id == self.own.user_id;
        if !is_own && proven.master {
            flow.owed = Some(Owed::User);
        } else if is_own && proven.device && self.can_sign(Usage::SelfSigning)? {
            flow.owed = Some(Owed::Device);
        } else if is_own && proven.master {
            self.rely_on_own_identity(flow)?;
            flow.owed = Some(Owed::OwnMaster);
        } else if proven.device {
            self.rely_on_device(flow)?;
        }
        Ok(())
    }

    /// Another device of ours proved that the identity the server shows is ours.
    fn rely_on_own_identity(&mut self, flow: &Verification) -> Result<()> {
        let Some(shown) = self.identity(&flow.user_id)? else { return Ok(()) };
        let mut own = self.own_identity()?;
        own.proven_master = Some(shown.master_key.clone());
        let users = self.tx.select::<Identity>(&Query::all())?;
        let users: Vec<&str> = users.iter().map(|known| known.user_id.as_str()).collect();
        self.telling(&users, |work| {
            work.put_identity(&Identity { pinned: shown.master_key.clone(), ..shown })?;
            work.put_own_identity(&own)
        })
    }

    /// The key of a device was compared, and nothing of ours could sign it.
    fn rely_on_device(&mut self, flow: &Verification) -> Result<()> {
        let device_id = flow.device_id.as_deref().unwrap_or_default();
        let user_id = flow.user_id.as_str();
        let device: Option<Device> = self.tx.get(&[user_id.into(), device_id.into()])?;
        let Some(device) = device else { return Ok(()) };
        self.telling(&[user_id], |work| {
            work.tx.put(&Device { local: LocalTrust::Verified, ..device })?;
            work.recipients_changed(user_id)
        })
    }

    /// The body of `POST /keys/signatures/upload` for what a verification owes.
    fn owed_signature(&mut self, flow: &Verification, owed: Owed) -> Result<String> {
        let (Some(keys), Some(device_id)) = (&flow.keys, &flow.device_id) else {
            return Err(Error::new(Kind::Identity, "Nothing was verified."));
        };
        let master = keys.master.as_deref().unwrap_or_default();
        match owed {
            Owed::User => self.user_signature(&flow.user_id, master),
            Owed::Device => self.device_signature(device_id, &keys.device),
            Owed::OwnMaster => self.own_master_signature(master),
        }
    }

    /// The server was given the signature that a verification owed.
    pub(in crate::machine) fn signature_uploaded(&mut self, number: i64, body: &str) -> Result<()> {
        let user_id = self.owes_nothing(number)?;
        if let Some(user_id) = user_id {
            // What it shows from now on is what the trust rests on, also on our other devices.
            self.mark_outdated(&user_id)?;
        }
        let answer: UniqueMap<Json> =
            read_object(body).or_fail(Kind::Answer, "The answer to a signature")?;
        let failures = answer.0.get("failures").and_then(Json::as_object);
        if failures.is_some_and(|failures| !failures.is_empty()) {
            return Err(Error::new(Kind::Answer, "The server did not take a signature."));
        }
        Ok(())
    }

    /// Notes that a verification owes nothing any more, and says who was verified.
    pub(in crate::machine) fn owes_nothing(&mut self, number: i64) -> Result<Option<String>> {
        let flow: Option<Verification> = self.tx.get(&[number.into()])?;
        let Some(flow) = flow else { return Ok(None) };
        let user_id = flow.user_id.clone();
        self.tx.put(&Verification { owed: None, ..flow })?;
        Ok(Some(user_id))
    }
}

impl Pump<'_, '_> {
    /// Uploads the signatures that verifications owe.
    pub(super) fn upload_signatures(&mut self) -> Result<()> {
        for mut flow in self.work.tx.select::<Verification>(&Query::all())? {
            let Some(owed) = flow.owed else { continue };
            let ask = Ask::Signature { number: flow.number };
            if self.is_busy(|busy| *busy == ask) {
                continue;
            }
            match self.work.owed_signature(&flow, owed) {
                Ok(body) => {
                    self.ask(ask, "POST", path(&["keys", "signatures", "upload"]), Some(body))?;
                }
                // The server shows other keys by now, or ours are gone: nothing was verified.
                Err(error) if error.kind == Kind::Identity => {
                    flow.owed = None;
                    self.work.settle(&mut flow, Err(Stop::Cancel(Cancel::KeyMismatch)))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
