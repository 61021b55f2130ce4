//! Names of blocks: 48 bits of time and 80 of chance, in 26 letters that sort as the numbers do.

use std::fmt;
use std::str::FromStr;

/// Crockford's alphabet: no I, L, O, U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

/// See the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(pub u128);

impl Ulid {
    pub fn new(time_ms: u64, chance: u128) -> Ulid {
        Ulid(u128::from(time_ms & 0xffff_ffff_ffff) << 80 | chance & ((1 << 80) - 1))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in (0..LENGTH as u32).rev() {
            let letter = LETTERS[(self.0 >> (5 * at)) as usize & 31];
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl FromStr for Ulid {
    type Err = ();
    fn from_str(text: &str) -> Result<Ulid, ()> {
        if text.len() != LENGTH || text.as_bytes()[0] > b'7' {
            return Err(());
        }
        let digit = |letter: u8| LETTERS.iter().position(|l| *l == letter.to_ascii_uppercase());
        let add = |number: u128, letter| Some(number << 5 | digit(letter)? as u128);
        text.bytes().try_fold(0, add).map(Ulid).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for number in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            assert_eq!(Ulid(number).to_string().parse(), Ok(Ulid(number)));
        }
        assert_eq!(Ulid(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        for wrong in
            ["", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01BKGTZQ1SYQJTR4PB43C8PD9", "01BKGTZQ1SYQJTR4PB43C8PDU8"]
        {
            assert!(wrong.parse::<Ulid>().is_err(), "{wrong}");
        }
    }
}
