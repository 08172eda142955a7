//! What the server was told, kept so that a test can look for plaintext in it.

use std::collections::VecDeque;

const LIMIT: usize = 64 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct Seen {
    bodies: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Seen {
    pub(crate) fn push(&mut self, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        self.bytes += body.len();
        self.bodies.push_back(body.to_vec());
        while self.bytes > LIMIT
            && let Some(oldest) = self.bodies.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    pub(crate) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.bodies.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bodies_make_room() {
        let mut seen = Seen::default();
        let half = vec![0; LIMIT / 2];
        seen.push(b"first");
        seen.push(&half);
        seen.push(&half);
        assert_eq!(seen.bodies().count(), 2);
        assert_eq!(seen.bytes, LIMIT);
    }
}
