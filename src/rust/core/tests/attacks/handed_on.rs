//! A member hands on another's session in her own name, from a lower index. What goes out of a store
//! then is still the other's: otherwise nobody reads the other's messages after a restore.

use mxcrypt_core::{
    judgement::{key_bundle, key_export::KeyExport},
    primitives::{attachment, key_export::Encrypt, megolm},
    store::{
        Query,
        records::{InboundSession, OwnBundle},
    },
};
use serde_json::json;
use vodozemac::megolm::GroupSession;

use crate::{
    key_requests::rely,
    scene::{Forger, Person, Scene, megolm_event, room_key},
    to_device::invite,
};

/// Zoe, who makes a session, and Mallory, who hands it on, and whose row comes first in the order of a
/// store. Their messages are made by hand.
pub struct HandedOn {
    pub zoe: Forger,
    pub mallory: Forger,
    pub session: GroupSession,
    room_id: String,
    /// The key at the index 0.
    first_key: String,
}

impl HandedOn {
    /// Both come into the room of `reader`, and Zoe says "zero".
    pub fn new(scene: &mut Scene, reader: &mut Person, room_id: &str) -> Self {
        let (zoe, mallory) = (scene.forger("zoe"), scene.forger("mallory"));
        for member in [&zoe, &mallory] {
            invite(scene, &reader.token, room_id, &member.user);
            scene.enter(&member.token, room_id);
        }
        reader.sync(scene);
        let users = [zoe.user.clone(), mallory.user.clone()];
        reader.machine.refresh_devices(reader.now, &users).unwrap();
        reader.pump(scene);
        let mut session = megolm::outbound();
        let first_key = session.session_key().to_base64();
        let zero = megolm_event(&mut session, room_id, "zero");
        zoe.post(scene, room_id, &zero);
        Self { zoe, mallory, session, room_id: room_id.to_owned(), first_key }
    }

    /// Zoe gives her key, from the index 1 on.
    pub fn zoe_gives(&mut self, scene: &mut Scene, reader: &mut Person) {
        let mut content = room_key(&self.room_id, &self.session);
        content["shared_history"] = json!(true);
        self.zoe.give_key(scene, reader, content, |_| {});
    }

    pub fn zoe_says(&mut self, scene: &mut Scene, text: &str) {
        let event = megolm_event(&mut self.session, &self.room_id, text);
        self.zoe.post(scene, &self.room_id, &event);
    }

    /// Mallory gives the same session, from the index 0 on, as if it were hers.
    pub fn mallory_gives(&mut self, scene: &mut Scene, reader: &mut Person) {
        let mut content = room_key(&self.room_id, &self.session);
        content["session_key"] = json!(self.first_key);
        content["shared_history"] = json!(true);
        self.mallory.give_key(scene, reader, content, |_| {});
    }

    pub fn zoes_key(&self) -> String {
        self.zoe.account.curve25519_key().to_base64()
    }
}

/// Alice has read Zoe's "one" on her phone, and has the session twice.
fn scenery(mallory_first: bool) -> (Scene, Person, HandedOn, String) {
    let mut scene = Scene::new();
    let mut phone = scene.person("alice");
    let room_id = scene.room(&mut [&mut phone]);
    let mut handed_on = HandedOn::new(&mut scene, &mut phone, &room_id);
    if mallory_first {
        handed_on.mallory_gives(&mut scene, &mut phone);
    }
    handed_on.zoe_gives(&mut scene, &mut phone);
    handed_on.zoe_says(&mut scene, "one");
    let read = phone.reads(&mut scene);
    assert_eq!(read.last().map(String::as_str), Some("one"));
    if !mallory_first {
        handed_on.mallory_gives(&mut scene, &mut phone);
    }
    // Zoe's message, posted again by Mallory, reads as hers, and does not make the session hers.
    let copied = megolm_event(&mut handed_on.session, &room_id, "two");
    handed_on.zoe.post(&mut scene, &room_id, &copied);
    handed_on.mallory.post(&mut scene, &room_id, &copied);
    phone.reads(&mut scene);
    let name = handed_on.session.session_id();
    let rows = phone.look(|tx| tx.count::<InboundSession>(&Query::equal("session_id", &*name)));
    assert_eq!(rows, 2);
    (scene, phone, handed_on, room_id)
}

#[test]
fn an_export_holds_the_session_of_its_maker() {
    for mallory_first in [false, true] {
        let (_, mut phone, handed_on, room_id) = scenery(mallory_first);
        let encrypt = Encrypt::new(Vec::new(), "pw", 100_000).unwrap();
        let mut export = phone.machine.begin_export(encrypt, None).unwrap();
        while phone.machine.export_keys(&mut export).unwrap() {}
        let file = export.finish().unwrap();
        let mut file = KeyExport::open(std::io::Cursor::new(file), "pw").unwrap();
        let name = handed_on.session.session_id();
        let mut found = Vec::new();
        while let Some(sessions) = file.next_sessions().unwrap() {
            found.extend(sessions.into_iter().filter(|s| s.session_id.as_deref() == Some(&name)));
        }
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].room_id.as_deref(), Some(&*room_id));
        assert_eq!(found[0].sender_key, Some(handed_on.zoes_key()));
        // It is one ratchet: the lower index is true, whatever its source.
        let session = &found[0].verdict.as_ref().unwrap().session;
        assert_eq!(session.first_known_index(), 0);
    }
}

#[test]
fn a_bundle_holds_the_session_of_its_maker() {
    for mallory_first in [false, true] {
        let (scene, mut phone, handed_on, room_id) = scenery(mallory_first);
        let (number, mut bytes) =
            phone.machine.make_key_bundle(scene.now, &room_id).unwrap().unwrap();
        let bundle: Option<OwnBundle> = phone.look(|tx| tx.get(&[number.into()]));
        attachment::decrypt(&bundle.unwrap().key, &mut bytes).unwrap();
        let mut keys = key_bundle::read(&bytes, &room_id).unwrap();
        keys.retain(|key| key.session.session_id() == handed_on.session.session_id());
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].sender_key, handed_on.zoes_key());
    }
}

#[test]
fn the_session_of_its_maker_is_forwarded() {
    for mallory_first in [false, true] {
        let (mut scene, mut phone, handed_on, _) = scenery(mallory_first);
        let mut laptop = scene.person("alice");
        laptop.reads(&mut scene);
        rely(&mut scene, &mut laptop, &mut phone);
        rely(&mut scene, &mut phone, &mut laptop);
        scene.now += 11_000;
        for _ in 0..3 {
            for device in [&mut laptop, &mut phone] {
                device.sync(&mut scene);
                assert_eq!(device.pump(&mut scene), []);
            }
        }
        let name = handed_on.session.session_id();
        let query = Query::equal("session_id", &*name);
        let kept: Vec<InboundSession> = laptop.look(|tx| tx.select(&query));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].sender_key, handed_on.zoes_key());
        let texts = laptop.new_texts();
        assert!(
            ["zero", "one"].iter().all(|text| texts.contains(&(*text).to_owned())),
            "{texts:?}"
        );
    }
}
