//! The content repository.

use serde_json::json;

use crate::error::Reply;
use crate::http::Call;
use crate::{Deviation, ModelServer, Request};

impl ModelServer {
    /// Keeps the body as a file.
    pub(crate) fn upload_file(&mut self, call: &Call) -> Reply {
        self.files.push(call.body.to_vec());
        Ok(json!({"content_uri": format!("mxc://{}/file{}", self.name, self.files.len())}))
    }

    /// The file that `request` asks for, in place of a JSON response; none if it asks for no file
    /// that is there, or nobody who is signed in asks.
    pub fn file(&mut self, request: &Request) -> Option<&[u8]> {
        let call = Call::new(0, request);
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let is_old = self.behaviour().has(Deviation::NoAuthenticatedMedia);
        let (server, id) = match path.as_slice() {
            ["_matrix", "client", "v1", "media", "download", server, id] if !is_old => {
                self.authenticate(&call).ok()?;
                (server, id)
            }
            ["_matrix", "media", "v3", "download", server, id] if is_old => (server, id),
            _ => return None,
        };
        let number: usize = id.strip_prefix("file")?.parse().ok()?;
        let file = self.files.get(number.checked_sub(1)?)?;
        (*server == self.name && call.method == "GET").then_some(file)
    }
}

#[cfg(test)]
mod tests {
    use crate::{ModelServer, Request};

    #[test]
    fn a_file_is_given_as_it_came_to_those_who_are_signed_in() {
        let mut server = ModelServer::new("here");
        let request = |method: &str, path: &str, token: Option<&str>, body: &[u8]| Request {
            method: method.into(),
            path: path.into(),
            token: token.map(str::to_owned),
            body: body.to_vec(),
        };
        let body = br#"{"username": "a", "password": "p", "auth": {"type": "m.login.dummy"}}"#;
        let made = server.handle(0, &request("POST", "/_matrix/client/v3/register", None, body));
        let made: serde_json::Value = serde_json::from_str(&made.body).unwrap();
        let token = made["access_token"].as_str();
        let upload = "/_matrix/media/v3/upload?filename=x";
        assert_eq!(server.handle(0, &request("POST", upload, None, &[0, 255])).status, 401);
        let answer = server.handle(0, &request("POST", upload, token, &[0, 255]));
        assert_eq!(answer.body, r#"{"content_uri":"mxc://here/file1"}"#);
        let download = "/_matrix/client/v1/media/download/here/file";
        let mut file = |name: &str, token| {
            let request = request("GET", &format!("{download}{name}"), token, &[]);
            assert!(server.handle(0, &request).status >= 400);
            server.file(&request).map(<[u8]>::to_vec)
        };
        assert_eq!(file("1", token), Some(vec![0, 255]));
        for (name, token) in [("1", None), ("2", token), ("0", token), ("x", token)] {
            assert_eq!(file(name, token), None);
        }
    }
}
