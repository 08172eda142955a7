//! QR symbols: the squares in which bytes are shown, and bytes from an image of them.
//!
//! Specification: client-server API, end-to-end encryption, "QR code format": one segment, in the byte
//! mode of ISO/IEC 18004.

use qrcode::{Color, EcLevel, QrCode, Version, bits::Bits};
use rqrr::PreparedImage;

use super::contained;
use crate::error::{Error, Kind, OrFail, Result};

/// It is read from screens, which have no stains: the lowest level makes the largest squares.
const LEVEL: EcLevel = EcLevel::L;

/// A symbol, without the quiet zone of four modules around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// How many modules a row has, and how many rows there are.
    pub width: usize,
    /// Whether a module is dark, row by row.
    pub dark: Vec<bool>,
}

/// The smallest symbol that holds `bytes`.
///
/// # Errors
/// [`Kind::QrCode`] when there are more than 2953.
pub fn symbol(bytes: &[u8]) -> Result<Symbol> {
    let filled = |version| {
        let mut bits = Bits::new(Version::Normal(version));
        bits.push_byte_data(bytes).ok()?;
        bits.push_terminator(LEVEL).ok()?;
        Some(bits)
    };
    let bits = (1..=40).find_map(filled).ok_or_else(|| {
        Error::new(Kind::QrCode, format!("A QR code has no room for {} bytes.", bytes.len()))
    })?;
    let code = QrCode::with_bits(bits, LEVEL).or_fail(Kind::Internal, "A QR code")?;
    let dark = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
    Ok(Symbol { width: code.width(), dark })
}

/// What the symbols in an image hold, in no particular order. The image is given row by row, from 0
/// for black to 255 for white; light symbols on dark ground are seen too.
///
/// # Errors
/// [`Kind::QrCode`] when none is there that can be read; [`Kind::Argument`] when `grey` is no image
/// of this `width`.
pub fn scan(width: usize, grey: &[u8]) -> Result<Vec<Vec<u8>>> {
    if width == 0 || !grey.len().is_multiple_of(width) {
        return Err(Error::new(Kind::Argument, "An image has rows of one width."));
    }
    let read = |ground: u8| {
        contained(|| {
            let height = grey.len() / width;
            let pixel = |x: usize, y: usize| grey[y * width + x] ^ ground;
            let mut image = PreparedImage::prepare_from_greyscale(width, height, pixel);
            let codes = image.detect_grids().into_iter().filter_map(|grid| {
                let mut bytes = Vec::new();
                grid.decode_to(&mut bytes).ok().map(|_| bytes)
            });
            Ok(codes.collect::<Vec<_>>())
        })
    };
    let found = [0, 255].into_iter().flat_map(|ground| read(ground).unwrap_or_default());
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(Error::new(Kind::QrCode, "There is no QR code in the image that can be read."));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of a symbol, with four modules of quiet around it.
    fn image(symbol: &Symbol, scale: usize) -> (usize, Vec<u8>) {
        let width = (symbol.width + 8) * scale;
        let module = |x: usize, y: usize| {
            let (x, y) = ((x / scale).checked_sub(4)?, (y / scale).checked_sub(4)?);
            (x < symbol.width && y < symbol.width).then(|| symbol.dark[y * symbol.width + x])
        };
        let pixel = |i: usize| {
            if module(i % width, i / width) == Some(true) { 0 } else { 255 }
        };
        (width, (0..width * width).map(pixel).collect())
    }

    #[test]
    fn bytes_of_all_kinds_come_back() {
        for length in [0, 1, 17, 18, 130, 400, 2953] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let (width, mut grey) = image(&symbol(&bytes).unwrap(), 3);
            assert_eq!(scan(width, &grey).unwrap(), std::slice::from_ref(&bytes), "{length}");
            grey.iter_mut().for_each(|pixel| *pixel ^= 255);
            assert_eq!(scan(width, &grey).unwrap(), [bytes], "{length}, inverted");
        }
        assert_eq!(symbol(&[0; 2954]).unwrap_err().kind, Kind::QrCode);
    }

    /// Digits and letters would take fewer bits in another mode, which the specification forbids.
    #[test]
    fn everything_is_in_byte_mode() {
        let (digits, bytes) = (symbol(b"0123456789012345678901234567890").unwrap(), [0xFF; 31]);
        assert_eq!(digits.width, symbol(&bytes).unwrap().width);
    }

    #[test]
    fn what_is_no_image_of_a_code_is_an_error() {
        for (width, grey) in [(0, vec![]), (0, vec![1]), (3, vec![0; 10])] {
            assert_eq!(scan(width, &grey).unwrap_err().kind, Kind::Argument);
        }
        for (width, length) in [(1, 0), (1, 1), (1, 100), (100, 100), (64, 64 * 64)] {
            let grey: Vec<u8> = (0..length).map(|i| (i * i % 251) as u8).collect();
            assert_eq!(scan(width, &grey).unwrap_err().kind, Kind::QrCode);
        }
        let (width, mut grey) = image(&symbol(b"hello").unwrap(), 2);
        grey[..width * 30].fill(0);
        assert!(scan(width, &grey).is_err());
    }
}
