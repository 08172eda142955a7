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

pub(super) use self::outcome::{owes_nothing, signature_uploaded};
pub(super) use self::pending::{
    pursue_verifications, verification_refused, verification_requested,
};
pub(super) use self::received::{note_verification, receive_verification_to_device};

use zeroize::Zeroizing;

use super::{MINUTE, Machine, Millis, Work};
use crate::{
    error::{Error, Kind, Result},
    judgement::verification::{self, Cancel},
    machine::{devices, identity, tracking, user_trust},
    primitives::{keys::encode_base64, sas::Sas, seal::random_bytes},
    store::{
        Query,
        records::{Device, FixedKeys, Phase, Proven, Verification},
    },
};

/// How long a request is valid, and how long a verification may take once both agreed.
const PATIENCE: Millis = 10 * MINUTE;
/// How long a received request is valid at most.
const PROMPT: Millis = 2 * MINUTE;
/// How many verifications that ended are remembered.
const MOST_ENDED: usize = 50;
/// How many are under way at most: anyone may request one.
const MOST_OPEN: usize = 200;

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
    /// What that means, where it is of the specification, or why our server refused a message. What
    /// the other side says is not kept.
    pub reason: Option<String>,
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
            outcome::check_can_verify(work, user_id)?;
            let number = work.tx.take_number("verification")?;
            let mut flow = Verification {
                room_id: room_id.map(str::to_owned),
                requested_here: true,
                ..Verification::new(number, user_id, now + PATIENCE)
            };
            if room_id.is_none() {
                flow.flow_id = Some(encode_base64(&random_bytes::<15>()?));
                flow.asked = devices_to_ask(work, user_id, device_id)?;
            }
            messages::send_request(work, &mut flow)?;
            keep(work, &flow)?;
            status(work, &flow)
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
            if methods::methods(work, flow)?.is_empty() {
                return Err(not_now("The other side knows no method that is known here.").into());
            }
            outcome::check_can_verify(work, &flow.user_id)?;
            if !fix_keys(work, flow)? {
                return Err(not_now("The other device is not known yet.").into());
            }
            flow.phase = Phase::Ready;
            flow.deadline = now + PATIENCE;
            // The side that began without a request already waits for the next message.
            if flow.waiting.is_empty() {
                messages::send_ready(work, flow)
            } else {
                received::take_waiting(work, flow)
            }
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
            if !methods::methods(work, flow)?.contains(&verification::SAS) {
                return Err(not_now("The other side does not compare emoji or numbers.").into());
            }
            sas::begin_sas(work, flow)
        })
    }

    /// The bytes of a QR code for the other side to scan: the same for as long as nothing has begun.
    ///
    /// # Errors
    /// [`Kind::Verification`] when none can be shown now.
    pub fn show_code(&mut self, now: Millis, number: i64) -> Result<Zeroizing<Vec<u8>>> {
        let mut shown = None;
        self.step(now, number, |work, flow| {
            shown = Some(qr::code_to_show(work, flow)?);
            Ok(())
        })?;
        shown.ok_or_else(|| not_now("It has ended already."))
    }

    /// Processes the content of the other side's QR code, which our user scanned.
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
        self.step(now, number, |work, flow| qr::their_code_scanned(work, flow, bytes))
    }

    /// Records whether our user sees the same as the other, or sees that the other scanned our
    /// code.
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
            Phase::Scanned(proven) if same => outcome::conclude(work, flow, proven),
            // Somebody else scanned it.
            Phase::Scanned(_) => Err(Cancel::KeyMismatch.into()),
            _ => sas::compared(work, flow, same),
        })
    }

    /// Ends a verification.
    ///
    /// # Errors
    /// [`Kind::Verification`] when it has ended already.
    pub fn cancel_verification(&mut self, now: Millis, number: i64) -> Result<VerificationStatus> {
        self.step(now, number, |_, _| Err(Cancel::User.into()))
    }

    /// Ends a verification in which the other side took too long for our user.
    ///
    /// # Errors
    /// [`Kind::Verification`] when it has ended already.
    pub fn time_out_verification(
        &mut self,
        now: Millis,
        number: i64,
    ) -> Result<VerificationStatus> {
        self.step(now, number, |_, _| Err(Cancel::Timeout.into()))
    }

    /// The verifications under way, and those that lately ended; oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn verifications(&mut self) -> Result<Vec<VerificationStatus>> {
        self.read(|work| {
            let flows = work.tx.select::<Verification>(&Query::all())?;
            flows.iter().map(|flow| status(work, flow)).collect()
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
            if verification(work, number)?.has_ended() {
                return Err(not_now("It has ended already."));
            }
            pending::end_overdue(work)?;
            let mut flow = verification(work, number)?;
            if !flow.has_ended() {
                let done = step(work, &mut flow);
                settle(work, &mut flow, done)?;
            }
            status(work, &flow)
        })
    }
}

fn verification(work: &Work<'_>, number: i64) -> Result<Verification> {
    let flow = work.tx.get(&[number.into()])?;
    flow.ok_or_else(|| not_now("There is no verification of this number."))
}

/// Keeps what became of `flow` in a step.
fn settle(work: &mut Work<'_>, flow: &mut Verification, done: Step) -> Result<()> {
    match done {
        Ok(()) => {}
        Err(Stop::Cancel(cancel)) => messages::end(work, flow, cancel)?,
        Err(Stop::Failed(error)) => return Err(error),
    }
    if flow.has_ended() {
        flow.code = None;
    }
    keep(work, flow)
}

/// Writes a verification, and forgets old ones.
fn keep(work: &Work<'_>, flow: &Verification) -> Result<()> {
    work.tx.put(flow)?;
    let flows = work.tx.select::<Verification>(&Query::all())?;
    let ended: Vec<_> = flows.iter().filter(|f| f.has_ended() && f.owed.is_none()).collect();
    for old in ended.iter().take(ended.len().saturating_sub(MOST_ENDED)) {
        work.tx.delete::<Verification>(&[old.number.into()])?;
    }
    Ok(())
}

/// The devices that a request goes to.
fn devices_to_ask(work: &Work<'_>, user_id: &str, device_id: Option<&str>) -> Result<Vec<String>> {
    let ours = |id: &str| user_id == work.own.user_id && id == work.own.device_id;
    let mut devices = devices::devices_of(work, user_id)?;
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
fn fix_keys(work: &Work<'_>, flow: &mut Verification) -> Step<bool> {
    if tracking::track(work, &flow.user_id)?.outdated {
        return Ok(false);
    }
    flow.keys = Some(keys_of(work, flow)?);
    Ok(true)
}

/// The keys of the other side, as the store knows them.
fn keys_of(work: &Work<'_>, flow: &Verification) -> Step<FixedKeys> {
    let device_id = flow.device_id.as_deref().ok_or(Cancel::UnexpectedMessage)?;
    let device: Option<Device> = work.tx.get(&[flow.user_id.as_str().into(), device_id.into()])?;
    let usable = |device: &Device| !device.deleted && !device.key_changed && !device.dehydrated;
    let device = device.filter(usable);
    let device = device.ok_or(Cancel::KeyMismatch)?;
    let identity = identity::identity(work, &flow.user_id)?;
    // One name for two keys: anyone who verifies one could be shown the other.
    if identity.as_ref().is_some_and(|identity| identity.name_taken) {
        return Err(Cancel::KeyMismatch.into());
    }
    Ok(FixedKeys { device: device.signing_key, master: identity.map(|found| found.master_key) })
}

/// Our keys, as the other side should know them: the master key where we know that it is ours.
fn our_keys(work: &Work<'_>) -> Result<FixedKeys> {
    let own = user_trust::trust_in_user(work, &work.own.user_id)?;
    let master = own.master_key.filter(|_| own.verified);
    Ok(FixedKeys { device: work.own.signing_key.clone(), master })
}

fn status(work: &Work<'_>, flow: &Verification) -> Result<VerificationStatus> {
    let (mut sas, mut emoji, mut proven, mut cancelled) = (None, false, None, None);
    let state = match &flow.phase {
        Phase::Requested => State::Requested,
        Phase::Ready => State::Ready,
        Phase::Sas(under_way) if under_way.their_key.is_none() => State::Started,
        Phase::Sas(under_way) => {
            sas = Some(sas::strings(work, flow, under_way)?);
            emoji = under_way.emoji;
            if under_way.confirmed { State::Confirmed } else { State::Compare }
        }
        Phase::Scanned(_) => State::Scanned,
        Phase::Reciprocated(_) => State::Confirmed,
        Phase::Done(keys) => {
            proven = Some(*keys);
            State::Done
        }
        Phase::Cancelled { code, here, message } => {
            let known = || Cancel::of_code(code).map(|cancel| cancel.reason().to_owned());
            let reason = message.clone().or_else(known);
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
        methods: methods::methods(work, flow)?,
        shows_code: state == State::Ready && flow.code.is_some(),
        sas,
        emoji,
        proven,
        cancelled,
    })
}

fn not_now(what: &str) -> Error {
    Error::new(Kind::Verification, what)
}
