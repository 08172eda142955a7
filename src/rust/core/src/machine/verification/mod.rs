//! Verification: our user and another one, or two devices of ours, make sure of each other's keys.
//!
//! Specification: client-server API, end-to-end encryption, "Key verification framework". A
//! verification is one record of the store: a process may end between any two of its steps. Nothing
//! here agrees to anything in our user's place: what people decide comes in through the calls of
//! this file, what the other side says through `received`.
//!
//! | file | what it does |
//! |---|---|
//! | `received` | messages of the other side, and which verification they are of |
//! | `sas` | the steps of SAS |
//! | `qr` | the steps of QR codes |
//! | `methods` | what this device, and both together, can do |
//! | `messages` | sends messages, between devices or in a room |
//! | `outcome` | what follows from a good end |
//! | `pending` | what time, and news of devices, change |

mod messages;
mod methods;
mod outcome;
mod pending;
mod qr;
mod received;
mod sas;

use zeroize::Zeroizing;

use super::{MINUTE, Machine, Millis, Work};
use crate::{
    error::{Error, Kind, Result},
    judgement::verification::{self, Cancel},
    primitives::{keys::encode_base64, sas::Sas, seal::random_bytes},
    store::{
        Query,
        records::{Device, FixedKeys, Phase, Proven, Verification},
    },
};

/// How long a request stands, and how long a verification may take once both agreed.
const PATIENCE: Millis = 10 * MINUTE;
/// How long a request that came stands at most.
const PROMPT: Millis = 2 * MINUTE;
/// How many verifications that ended are remembered.
const MOST_ENDED: usize = 50;
/// How many are under way at most: whoever likes may ask for one.
const MOST_OPEN: usize = 50;

/// What is known of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationStatus {
    /// Its number.
    pub number: i64,
    /// The other user, who may be ours.
    pub user_id: String,
    /// The other device, once it is known which one it is.
    pub device_id: Option<String>,
    /// The room it takes place in.
    pub room_id: Option<String>,
    /// This device asked for it.
    pub requested_here: bool,
    /// How far it is.
    pub state: State,
    /// What this device can do in it that goes with what the other can.
    pub methods: Vec<&'static str>,
    /// A QR code is shown here.
    pub shows_code: bool,
    /// What is to be compared, from then on.
    pub sas: Option<Sas>,
    /// Emoji can be compared, as well as numbers.
    pub emoji: bool,
    /// Which keys were proven, at a good end.
    pub proven: Option<Proven>,
    /// Why it ended otherwise.
    pub cancelled: Option<Cancelled>,
}

/// Why a verification ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// The code.
    pub code: String,
    /// What that means, where it is of the specification. What the other side says is not kept.
    pub reason: Option<&'static str>,
    /// It was ended here.
    pub here: bool,
}

/// How far a verification is, for those who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// One side asked.
    Requested,
    /// The other agreed; one begins with a method.
    Ready,
    /// A method has begun.
    Started,
    /// Our user is to compare.
    Compare,
    /// The other side scanned our code; our user is to see that it did.
    Scanned,
    /// Our user saw the same, or scanned; the other side's word is awaited.
    Confirmed,
    /// It came to a good end.
    Done,
    /// It came to another end.
    Cancelled,
}

impl State {
    /// The name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Requested => "requested",
            State::Ready => "ready",
            State::Started => "started",
            State::Compare => "compare",
            State::Scanned => "scanned",
            State::Confirmed => "confirmed",
            State::Done => "done",
            State::Cancelled => "cancelled",
        }
    }
}

/// Why a step is not taken.
enum Stop {
    /// The verification ends, and the other side is told.
    Cancel(Cancel),
    /// Nothing was changed.
    Failed(Error),
}

impl From<Cancel> for Stop {
    fn from(cancel: Cancel) -> Self {
        Stop::Cancel(cancel)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

type Step<T = ()> = std::result::Result<T, Stop>;

impl Machine {
    /// Asks for a verification: of another user in a room, or of a device directly; without either,
    /// of whichever other device of our own user agrees first.
    ///
    /// # Errors
    /// [`Kind::Verification`] when there is no such device, [`Kind::Identity`] when what follows from
    /// it could not be signed.
    pub fn request_verification(
        &mut self,
        now: Millis,
        user_id: &str,
        device_id: Option<&str>,
        room_id: Option<&str>,
    ) -> Result<VerificationStatus> {
        self.work(now, |work| {
            work.check_can_verify(user_id)?;
            let mut flow = Verification {
                number: work.tx.take_number("verification")?,
                flow_id: None,
                user_id: user_id.to_owned(),
                device_id: None,
                room_id: room_id.map(str::to_owned),
                requested_here: true,
                asked: Vec::new(),
                request: None,
                methods: Vec::new(),
                deadline: now + PATIENCE,
                keys: None,
                code: None,
                waiting: Vec::new(),
                seen: Vec::new(),
                phase: Phase::Requested,
                owed: None,
            };
            if room_id.is_none() {
                flow.flow_id = Some(encode_base64(&random_bytes::<15>()?));
                flow.asked = work.devices_to_ask(user_id, device_id)?;
            }
            work.send_request(&mut flow)?;
            work.keep(&flow)?;
            work.status(&flow)
        })
    }

    /// Agrees to a verification that the other side asked for.
    ///
    /// # Errors
    /// [`Kind::Verification`] when it is not one that waits for that.
    pub fn accept_verification(&mut self, now: Millis, number: i64) -> Result<VerificationStatus> {
        self.step(now, number, |work, flow| {
            if !matches!(flow.phase, Phase::Requested) || flow.requested_here {
                return Err(not_now("It does not wait for your agreement.").into());
            }
            if work.methods(flow)?.is_empty() {
                return Err(not_now("The other side knows no method that is known here.").into());
            }
            work.check_can_verify(&flow.user_id)?;
            if !work.fix_keys(flow)? {
                return Err(not_now("The other device is not known yet.").into());
            }
            flow.phase = Phase::Ready;
            flow.deadline = now + PATIENCE;
            // Whoever began without a request waits for the next message already.
            if flow.waiting.is_empty() { work.send_ready(flow) } else { work.take_waiting(flow) }
        })
    }

    /// Begins SAS.
    ///
    /// # Errors
    /// [`Kind::Verification`] when nothing can begin now.
    pub fn start_sas(&mut self, now: Millis, number: i64) -> Result<VerificationStatus> {
        self.step(now, number, |work, flow| {
            if !matches!(flow.phase, Phase::Ready) || flow.keys.is_none() {
                return Err(not_now("No method can begin now.").into());
            }
            if !work.methods(flow)?.contains(&verification::SAS) {
                return Err(not_now("The other side does not compare emoji or numbers.").into());
            }
            work.begin_sas(flow)
        })
    }

    /// The bytes of a QR code for the other side to scan: the same for as long as nothing has begun.
    ///
    /// # Errors
    /// [`Kind::Verification`] when none can be shown now.
    pub fn show_code(&mut self, now: Millis, number: i64) -> Result<Zeroizing<Vec<u8>>> {
        let mut shown = None;
        self.step(now, number, |work, flow| {
            shown = Some(work.code_to_show(flow)?);
            Ok(())
        })?;
        shown.ok_or_else(|| not_now("It has ended already."))
    }

    /// Takes in what the other side's QR code holds, which our user scanned.
    ///
    /// # Errors
    /// [`Kind::Verification`] when none can be scanned now, [`Kind::QrCode`] when `bytes` are not those
    /// of a code. One that does not fit ends the verification.
    pub fn scan_code(
        &mut self,
        now: Millis,
        number: i64,
        bytes: &[u8],
    ) -> Result<VerificationStatus> {
        self.step(now, number, |work, flow| work.their_code_scanned(flow, bytes))
    }

    /// Takes in whether our user sees the same as the other, or sees that the other scanned our code.
    ///
    /// # Errors
    /// [`Kind::Verification`] when there is nothing to confirm.
    pub fn confirm_verification(
        &mut self,
        now: Millis,
        number: i64,
        same: bool,
    ) -> Result<VerificationStatus> {
        self.step(now, number, |work, flow| match flow.phase {
            Phase::Scanned(proven) if same => work.conclude(flow, proven),
            // Somebody else scanned it.
            Phase::Scanned(_) => Err(Cancel::KeyMismatch.into()),
            _ => work.compared(flow, same),
        })
    }

    /// Ends a verification.
    ///
    /// # Errors
    /// [`Kind::Verification`] when it has ended already.
    pub fn cancel_verification(&mut self, now: Millis, number: i64) -> Result<VerificationStatus> {
        self.step(now, number, |_, _| Err(Cancel::User.into()))
    }

    /// The verifications under way, and those that lately ended; oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn verifications(&mut self) -> Result<Vec<VerificationStatus>> {
        self.work(0, |work| {
            let flows = work.tx.select::<Verification>(&Query::all())?;
            flows.iter().map(|flow| work.status(flow)).collect()
        })
    }

    /// Does a step that our user decided on.
    fn step(
        &mut self,
        now: Millis,
        number: i64,
        step: impl FnOnce(&mut Work<'_>, &mut Verification) -> Step,
    ) -> Result<VerificationStatus> {
        self.work(now, |work| {
            if work.verification(number)?.has_ended() {
                return Err(not_now("It has ended already."));
            }
            work.end_overdue()?;
            let mut flow = work.verification(number)?;
            if !flow.has_ended() {
                let done = step(work, &mut flow);
                work.settle(&mut flow, done)?;
            }
            work.status(&flow)
        })
    }
}

impl Work<'_> {
    fn verification(&self, number: i64) -> Result<Verification> {
        let flow = self.tx.get(&[number.into()])?;
        flow.ok_or_else(|| not_now("There is no verification of this number."))
    }

    /// Keeps what became of `flow` in a step.
    fn settle(&mut self, flow: &mut Verification, done: Step) -> Result<()> {
        match done {
            Ok(()) => {}
            Err(Stop::Cancel(cancel)) => self.end(flow, cancel)?,
            Err(Stop::Failed(error)) => return Err(error),
        }
        if flow.has_ended() {
            flow.code = None;
        }
        self.keep(flow)
    }

    /// Writes a verification, and forgets old ones.
    fn keep(&self, flow: &Verification) -> Result<()> {
        self.tx.put(flow)?;
        let flows = self.tx.select::<Verification>(&Query::all())?;
        let ended: Vec<_> = flows.iter().filter(|f| f.has_ended() && f.owed.is_none()).collect();
        for old in ended.iter().take(ended.len().saturating_sub(MOST_ENDED)) {
            self.tx.delete::<Verification>(&[old.number.into()])?;
        }
        Ok(())
    }

    /// The devices that a request goes to.
    fn devices_to_ask(&self, user_id: &str, device_id: Option<&str>) -> Result<Vec<String>> {
        let ours = |id: &str| user_id == self.own.user_id && id == self.own.device_id;
        let mut devices = self.devices_of(user_id)?;
        devices.retain(|device| {
            !ours(&device.device_id)
                && !device.dehydrated
                && device_id.is_none_or(|wanted| wanted == device.device_id)
        });
        if devices.is_empty() {
            return Err(not_now("There is no such device to verify with."));
        }
        Ok(devices.into_iter().map(|device| device.device_id).collect())
    }

    /// Fixes the keys that are verified. False when the devices of the user are not known well
    /// enough yet.
    fn fix_keys(&self, flow: &mut Verification) -> Step<bool> {
        if self.track(&flow.user_id)?.outdated {
            return Ok(false);
        }
        flow.keys = Some(self.keys_of(flow)?);
        Ok(true)
    }

    /// The keys of the other side, as the store knows them.
    fn keys_of(&self, flow: &Verification) -> Step<FixedKeys> {
        let device_id = flow.device_id.as_deref().ok_or(Cancel::UnexpectedMessage)?;
        let device: Option<Device> =
            self.tx.get(&[flow.user_id.as_str().into(), device_id.into()])?;
        let usable = |device: &Device| !device.deleted && !device.key_changed && !device.dehydrated;
        let device = device.filter(usable);
        let device = device.ok_or(Cancel::KeyMismatch)?;
        let identity = self.identity(&flow.user_id)?;
        // One name for two keys: whoever verifies one could be shown the other.
        if identity.as_ref().is_some_and(|identity| identity.name_taken) {
            return Err(Cancel::KeyMismatch.into());
        }
        Ok(FixedKeys { device: device.signing_key, master: identity.map(|found| found.master_key) })
    }

    /// Our keys, as the other side should know them: the master key where we know that it is ours.
    fn our_keys(&self) -> Result<FixedKeys> {
        let own = self.trust_in_user(&self.own.user_id)?;
        let master = own.master_key.filter(|_| own.verified);
        Ok(FixedKeys { device: self.own.signing_key.clone(), master })
    }

    fn status(&self, flow: &Verification) -> Result<VerificationStatus> {
        let (mut sas, mut emoji, mut proven, mut cancelled) = (None, false, None, None);
        let state = match &flow.phase {
            Phase::Requested => State::Requested,
            Phase::Ready => State::Ready,
            Phase::Sas(under_way) if under_way.their_key.is_none() => State::Started,
            Phase::Sas(under_way) => {
                sas = Some(self.strings(flow, under_way)?);
                emoji = under_way.emoji;
                if under_way.confirmed { State::Confirmed } else { State::Compare }
            }
            Phase::Scanned(_) => State::Scanned,
            Phase::Reciprocated(_) => State::Confirmed,
            Phase::Done(keys) => {
                proven = Some(*keys);
                State::Done
            }
            Phase::Cancelled { code, here } => {
                let reason = Cancel::of_code(code).map(Cancel::reason);
                cancelled = Some(Cancelled { code: code.clone(), reason, here: *here });
                State::Cancelled
            }
        };
        Ok(VerificationStatus {
            number: flow.number,
            user_id: flow.user_id.clone(),
            device_id: flow.device_id.clone(),
            room_id: flow.room_id.clone(),
            requested_here: flow.requested_here,
            state,
            methods: self.methods(flow)?,
            shows_code: state == State::Ready && flow.code.is_some(),
            sas,
            emoji,
            proven,
            cancelled,
        })
    }
}

fn not_now(what: &str) -> Error {
    Error::new(Kind::Verification, what)
}
