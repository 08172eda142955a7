//! Two sides of a verification.

use mxcrypt_core::{
    Result,
    judgement::trust::Trust,
    machine::{Storage, VerificationState as State, VerificationStatus},
    store::records::Verification,
};
use serde_json::{Value, json};

use crate::{
    identities::{ask_about, make_identity},
    scene::{Person, Scene, encoded, parse},
};

/// Two devices of Alice, or one of hers and one of Bob's, who share a room. The first has an
/// identity, and so has Bob.
pub struct Pair {
    pub scene: Scene,
    pub people: [Person; 2],
    pub room_id: Option<String>,
}

pub const FIRST: usize = 0;
pub const SECOND: usize = 1;
/// What the two devices are worth to each other when nothing was verified.
pub const NOBODY: [Trust; 2] = [Trust::Signed, Trust::Unsigned];

impl Pair {
    pub fn devices() -> Self {
        let mut scene = Scene::new();
        let mut phone = scene.person("alice");
        make_identity(&mut scene, &mut phone);
        let laptop = scene.person("alice");
        Self::met(scene, [phone, laptop], None)
    }

    pub fn users() -> Self {
        let mut scene = Scene::new();
        let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
        make_identity(&mut scene, &mut alice);
        make_identity(&mut scene, &mut bob);
        let room_id = scene.room(&mut [&mut alice, &mut bob]);
        Self::met(scene, [alice, bob], Some(room_id))
    }

    /// Both know of each other's devices.
    pub fn met(scene: Scene, people: [Person; 2], room_id: Option<String>) -> Self {
        let mut pair = Self { scene, people, room_id };
        let users = pair.people.each_ref().map(|person| person.user.clone());
        for person in &mut pair.people {
            person.sync(&mut pair.scene);
            ask_about(&mut pair.scene, person, &[&users[0], &users[1]], |response| response);
        }
        pair
    }

    /// `from` asks the other.
    pub fn request(&mut self, from: usize) {
        let user_id = self.people[1 - from].user.clone();
        let (now, room_id) = (self.scene.now, self.room_id.clone());
        let machine = &mut self.people[from].machine;
        machine.request_verification(now, &user_id, None, room_id.as_deref()).unwrap();
        self.exchange();
    }

    pub fn exchange(&mut self) {
        self.exchange_with(|_, _| {});
    }

    /// What is due goes to and fro; the server may change what it hands to somebody.
    pub fn exchange_with(&mut self, mut tamper: impl FnMut(usize, &mut Value)) {
        for _ in 0..3 {
            for place in [FIRST, SECOND] {
                let person = &mut self.people[place];
                person.pump(&mut self.scene);
                person.sync_with(&mut self.scene, |sync| tamper(place, sync));
                person.pump(&mut self.scene);
            }
        }
    }

    pub fn status(&mut self, place: usize) -> VerificationStatus {
        self.people[place].machine.verifications().unwrap().pop().expect("there is none")
    }

    pub fn state(&mut self, place: usize) -> State {
        self.status(place).state
    }

    /// The code with which it ended for somebody.
    pub fn code(&mut self, place: usize) -> String {
        self.status(place).cancelled.expect("it has not ended").code
    }

    pub fn accept(&mut self, place: usize) {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.accept_verification(now, number).unwrap();
    }

    pub fn start(&mut self, place: usize) {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.start_sas(now, number).unwrap();
    }

    /// The bytes of the QR code that somebody shows.
    pub fn show(&mut self, place: usize) -> Vec<u8> {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.show_code(now, number).unwrap().to_vec()
    }

    pub fn scan(&mut self, place: usize, code: &[u8]) -> Result<VerificationStatus> {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.scan_code(now, number, code)
    }

    pub fn confirm(&mut self, place: usize, same: bool) {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.confirm_verification(now, number, same).unwrap();
    }

    pub fn cancel(&mut self, place: usize) {
        let (number, now) = (self.status(place).number, self.scene.now);
        self.people[place].machine.cancel_verification(now, number).unwrap();
    }

    /// Both agreed.
    pub fn come_to_ready(&mut self, asks: usize) {
        self.request(asks);
        self.accept(1 - asks);
        self.exchange();
    }

    /// Both see strings to compare.
    pub fn come_to_compare(&mut self, asks: usize, starts: usize) {
        self.come_to_ready(asks);
        self.start(starts);
        self.exchange();
        let seen = [FIRST, SECOND].map(|place| self.status(place).sas.expect("nothing to compare"));
        assert_eq!(seen[0], seen[1]);
    }

    /// Both say that the strings are the same.
    pub fn come_to_done(&mut self) {
        self.come_to_compare(FIRST, FIRST);
        self.confirm(FIRST, true);
        self.confirm(SECOND, true);
        self.exchange();
    }

    /// The id by which the newest verification is known on both sides.
    pub fn transaction_id(&mut self, place: usize) -> String {
        let number = self.status(place).number;
        let flow: Option<Verification> = self.people[place].look(|tx| tx.get(&[number.into()]));
        flow.unwrap().flow_id.unwrap()
    }

    /// Somebody says that they are done, whatever their machine thinks.
    pub fn send_done(&mut self, from: usize) {
        let flow_id = self.transaction_id(from);
        let token = self.people[from].token.clone();
        if let Some(room_id) = &self.room_id {
            let path = format!("rooms/{}/send/m.key.verification.done/{from}", encoded(room_id));
            let relation = json!({"rel_type": "m.reference", "event_id": flow_id});
            let body = json!({"m.relates_to": relation});
            assert_eq!(self.scene.call(Some(&token), "PUT", &path, body).status, 200);
            return;
        }
        let to = &self.people[1 - from];
        let body = json!({"messages": {&to.user: {&to.device_id: {"transaction_id": flow_id}}}});
        let path = format!("sendToDevice/m.key.verification.done/{from}");
        assert_eq!(self.scene.call(Some(&token), "PUT", &path, body).status, 200);
    }

    /// Somebody replaces their identity by another.
    pub fn reset_identity(&mut self, place: usize) {
        let person = &mut self.people[place];
        person
            .machine
            .make_identity(person.now, &Storage::New { passphrase: None }, true, false)
            .unwrap();
        let name = person.user.trim_start_matches('@').split(':').next().unwrap();
        let auth = json!({"type": "m.login.password", "password": "pw",
            "identifier": {"type": "m.id.user", "user": name}});
        let upload = parse(&person.machine.signing_keys_upload(Some(&auth.to_string())).unwrap());
        let token = person.token.clone();
        let answer = self.scene.call(Some(&token), "POST", "keys/device_signing/upload", upload);
        assert_eq!(answer.status, 200);
        person.machine.identity_published(person.now).unwrap();
    }

    pub fn trust(&mut self, in_place: usize) -> Trust {
        let (user, device) =
            (self.people[in_place].user.clone(), self.people[in_place].device_id.clone());
        let machine = &mut self.people[1 - in_place].machine;
        let devices = machine.devices(&[user]).unwrap();
        let device = devices.into_iter().find(|known| known.device_id == device).unwrap();
        machine.trust_in(&[device]).unwrap()[0].trust
    }
}

/// The to-device events of a verification in a sync.
pub fn messages<'a>(sync: &'a mut Value, name: &str) -> Vec<&'a mut Value> {
    let event_type = format!("m.key.verification.{name}");
    let Some(events) = sync["to_device"]["events"].as_array_mut() else { return Vec::new() };
    events.iter_mut().filter(|event| event["type"] == event_type.as_str()).collect()
}
