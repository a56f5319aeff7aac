//! Why an advertisement is not heeded.

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, $sentence:literal;)+) => {
        /// Why an advertisement is not heeded: a counter, and a sentence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Reject {
            $($(#[doc = $doc])+ #[error($sentence)] $name,)+
        }

        impl Reject {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name of its counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

rejects! {
    /// The IP header is not one of a whole VRRP packet.
    Ip = "ip", "its IP header is cut, of a fragment, or of another protocol";
    /// It has crossed a router.
    Ttl = "ttl", "its TTL is not 255, so it comes from beyond a router";
    /// It was sent to one host where the group is spoken to, or the reverse.
    Destination = "destination", "it was not sent to the group, or to us, as this virtual router is spoken to";
    /// It is our own, come back.
    OwnSource = "own_source", "its source is our own address";
    /// It comes from no director that we know.
    Peer = "peer", "its source is none of the configured peers";
    /// Its version is not the virtual router's, or not of its family.
    Version = "version", "it is not of the version that this virtual router speaks";
    /// It is no advertisement.
    Type = "type", "it is no advertisement";
    /// It says that it has no addresses.
    Count = "count", "it has no addresses";
    /// It is shorter or longer than what it says it has.
    Length = "length", "its length is not that of its addresses";
    /// It was damaged.
    Checksum = "checksum", "its checksum is wrong";
    /// It is of a virtual router that is none of ours.
    Vrid = "vrid", "its virtual router is none of ours";
    /// It is signed in another way than ours.
    AuthType = "auth_type", "it is signed in another way";
    /// Its password is wrong.
    AuthPass = "auth_pass", "its password is wrong";
    /// It has to be signed with a key, and is not.
    AuthMissing = "auth_missing", "it is not signed with a key";
    /// What it is signed with has a form that we do not know.
    AuthTrailer = "auth_trailer", "it is signed in a form that we do not know";
    /// It is signed with a key that we do not have.
    AuthKey = "auth_key", "it is signed with a key that is none of ours";
    /// The signature is wrong.
    AuthHmac = "auth_hmac", "its signature is wrong: somebody has another key, or has made it up";
    /// It was signed too long ago, or in the future.
    AuthStale = "auth_stale", "its time is too far from ours: it is repeated, or a clock is wrong";
    /// It was heeded already, or is older than one that was.
    AuthReplay = "auth_replay", "it was heeded before: somebody repeats it";
    /// Version 2: its interval is not ours. Version 3: it has none.
    Interval = "interval", "its interval is not ours";
    /// It is about other addresses.
    Addresses = "addresses", "its virtual addresses are not ours";
}
