use http::{HeaderMap, header::COOKIE};
use smallvec::SmallVec;

/// The cookies of one request, read once. A cookie that is not UTF-8 is left out; the others beside it are not.
#[derive(Debug)]
pub struct Cookies<'a>(SmallVec<[(&'a str, &'a str); 8]>);

/// The `SameSite` attribute of session cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with requests from the same site alone.
    Strict,
    /// Sent with page loads from other sites as well.
    #[default]
    Lax,
    /// Sent always; browsers demand `Secure` with it.
    None,
    /// No attribute: the browser's own default.
    Unset,
}

impl<'a> Cookies<'a> {
    /// The cookies in `headers`, over all `Cookie` lines, in the order sent.
    pub fn read(headers: &'a HeaderMap) -> Self {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| std::str::from_utf8(pair.trim_ascii()).ok()?.split_once('='))
            .collect();
        Self(pairs)
    }

    /// All values of the cookie `name`: a parent domain or another path may have set one of the same name (RFC 6265
    /// section 5.4), so there can be several.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.0.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().copied()
    }
}

impl SameSite {
    /// The attribute as it stands in `Set-Cookie`, separator included.
    pub(super) const fn attribute(self) -> &'static str {
        match self {
            Self::Strict => "; SameSite=Strict",
            Self::Lax => "; SameSite=Lax",
            Self::None => "; SameSite=None",
            Self::Unset => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_of_odd_bytes_does_not_hide_the_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(b"a=1; odd=\xff\xfe;b=\xc3\xa4 ; junk; a=2").unwrap());
        headers.append(COOKIE, HeaderValue::from_static("a=3"));
        let cookies = Cookies::read(&headers);
        assert_eq!(cookies.all("a").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(cookies.all("b").collect::<Vec<_>>(), ["\u{e4}"]);
        assert_eq!(cookies.iter().count(), 4);
    }
}
