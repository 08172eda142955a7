//! The responses about a dehydrated device.
//!
//! MSC3814, "Rehydrating a device".

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{identifier, unique_map::read_object};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::canonical_json::{Json, Object},
};

/// The device, as it was put there.
#[derive(Debug)]
pub struct Stored {
    /// Its name, which must be its Curve25519 key.
    pub device_id: String,
    /// What is encrypted, and how.
    pub device_data: Object,
}

impl Stored {
    /// Reads the response to `GET /dehydrated_device`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is none.
    pub fn read(body: &str) -> Result<Self> {
        let refused = || Error::new(Kind::Answer, "The server's answer is no dehydrated device.");
        let mut body = Json::parse_object(body).or_fail(Kind::Answer, "The dehydrated device")?;
        match (body.remove("device_id"), body.remove("device_data")) {
            (Some(Json::String(device_id)), Some(Json::Object(device_data)))
                if identifier::is_sound(&device_id) =>
            {
                Ok(Self { device_id, device_data })
            }
            _ => Err(refused()),
        }
    }
}

/// Some of the events that the device was sent.
#[derive(Debug, Deserialize)]
pub struct Events {
    /// The events, each as it came.
    pub events: Vec<Box<RawValue>>,
    /// The token that requests the next events; none after the last. That there are no events says
    /// nothing.
    pub next_batch: Option<String>,
}

impl Events {
    /// Reads the response to `GET /dehydrated_device/{device_id}/events`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is none.
    pub fn read(body: &str) -> Result<Self> {
        read_object(body).or_fail(Kind::Answer, "The events of the dehydrated device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(Stored::read(r#"{"device_id":"a","device_data":{}}"#).is_ok());
        for odd in [
            "[]",
            "{}",
            r#"{"device_id":"a"}"#,
            r#"{"device_id":"a","device_data":[]}"#,
            r#"{"device_id":"","device_data":{}}"#,
            r#"{"device_id":"a","device_id":"b","device_data":{}}"#,
        ] {
            assert_eq!(Stored::read(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
        let read = |text: &str| Events::read(text).map(|found| found.next_batch);
        assert_eq!(read(r#"{"events":[]}"#).unwrap(), None);
        assert_eq!(read(r#"{"events":[],"next_batch":null}"#).unwrap(), None);
        assert_eq!(read(r#"{"events":[],"next_batch":"d1"}"#).unwrap().as_deref(), Some("d1"));
        for odd in ["[[],null]", "{}", r#"{"events":{}}"#, r#"{"events":[],"next_batch":1}"#] {
            assert_eq!(read(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }
}
