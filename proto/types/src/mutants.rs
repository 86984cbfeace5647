//! The protocol's rules, each of which can be broken on purpose: a simulator that does not notice proves nothing.
//!
//! Only a build with `--cfg mutants` can break one, and then one at a time; in every other build [`is_broken`] is always false and
//! costs nothing. The names are those of the counterexamples that the rules close.

macro_rules! rules {
    (ALL { $($name:ident $rule:literal,)* } MOVES { $($move:ident $of_moves:literal,)* }) => {
        /// A rule that a mutant breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $rule] $name,)*
            $(#[doc = $of_moves] $move,)*
        }

        impl Rule {
            /// All rules of replication and reads.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// All rules of slot moves.
            pub const MOVES: &[Self] = &[$(Self::$move),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    $(Self::$move => stringify!($move),)*
                }
            }

            /// The one with this name, in whatever case.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                let all = Self::ALL.iter().chain(Self::MOVES);
                all.copied().find(|rule| rule.name().eq_ignore_ascii_case(name))
            }

            /// What it says.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $rule,)*
                    $(Self::$move => $of_moves,)*
                }
            }
        }
    };
}

rules! {
    ALL {
        C1 "A leader answers reads only while every one of its in-sync replicas supports it.",
        C2 "A read lease counts from when it was asked for, not from when the grant arrives.",
        C3 "Whoever gives up a read lease gives up every grant that is still on its way.",
        C4 "Whether the lease holds is looked at after the data was read.",
        C5 "The clock is read anew after the data was read.",
        C6 "A read that began under one lease is not answered under another.",
        C7 "A lease's clock goes on while the process or its machine is suspended.",
        C8 "Leases of others are waited for as long as the slowest clock may take.",
        C9 "How long a leader's lease is, its group's record says.",
        C10 "A joining replica has answered something sent since it was waited for.",
        C11 "A process counts as having supported a leader until it began to take part.",
        C12 "Only the run that was elected leads its epoch.",
        C13 "A new leader answers no read before the start of its epoch is committed.",
        C14 "A leader has applied what it tells to be committed.",
        C15 "A read lease is granted only to a follower that holds the start of the epoch.",
        C17 "The gate waits for all who may hold a lease, also those who were dropped.",
        C18 "Whoever was awaited by a leader that never began is awaited by the next.",
        C20 "A leader whose append path hangs falls silent.",
        C21 "Support counts from when the leader sent what is answered.",
        C23 "A follower drops only what its leader contradicts, not what it does not know to be committed.",
        C24 "Logs agree at a place only if the epoch before it is the same.",
        C25 "What was verified is forgotten with the epoch, even if the leader stays the same.",
        C26 "An answer of an earlier epoch counts for nothing.",
        C27 "A follower acknowledges only what is verified.",
        C28 "A follower commits only what is verified.",
        C29 "A short append says nothing about what lies behind it.",
        C33 "Whoever joins is waited for before the record says so.",
        C34 "A change whose outcome is unknown may have been made.",
        C35 "A joining replica's registration is compared.",
        C36 "Another incarnation of a node's storage is another replica.",
        C37 "Nothing is committed by fewer than the group's minimum.",
        C38 "Only an intact incarnation counts for the floor and is elected.",
        C39 "A directory that is not what the registered run left is another replica.",
        C40 "A mark of a clean end vouches for the run that left it and for no other.",
        C41 "A disk on which a flush failed is never trusted again.",
        C43 "Nobody joins before the start of the epoch is committed, unless the floor demands it.",
        C44 "A group begins another history only if none of its in-sync replicas can come back.",
        C45 "A metadata store that shows an earlier epoch was restored from a backup.",
        C46 "The answer of a write that changed nothing waits for what it has seen.",
        C47 "A retry is recognised.",
        C48 "A result is kept until the group's time has passed its deadline.",
        C50 "A retry is recognised in what is appended and not committed yet.",
        C51 "What has expired is decided by the group's time alone.",
        C52 "What a session has seen in another history is not taken for this one's.",
        C53 "State is as fresh as what was applied, not as what was heard of.",
        C55 "A change that may still be executed is taken its revision away.",
        C56 "A leader supports itself until it leaves its epoch.",
        C57 "What an earlier process wrote is not known to be on disk.",
        C58 "From the second attempt on every result is logged before it is answered.",
        C59 "Only a leader that holds its lease says how fresh its followers are.",
        C60 "The gate waits for the longest lease that may be left, not for the next one's.",
        C61 "Whoever joins holds everything committed at the moment from which it is waited for.",
        C62 "Before activation the set may be brought to its floor.",
        C63 "Whoever answers and does not catch up lags.",
        C64 "A crash between registration and note does not cost the identity.",
        C65 "Whoever has taken a directory over names all those who worked in it before.",
        C66 "A majority of those who can be heard replaces a leader.",
        C67 "An activated leader empties the fence.",
        C68 "Only the answer to the latest attempt gives a lease up.",
        C69 "An intact replica leaves only if the floor is met by intact ones when it does.",
        C70 "Who joins has answered lately.",
        C71 "A change whose joining replica fell silent is abandoned.",
        C72 "A silent member lags, also while nothing is written.",
        C73 "A leader that is stalled sends no records either.",
    }
    MOVES {
        M1 "A fenced slot is opened only when its move is known to be aborted.",
        M4 "A slot is served by its new owner only when the slot map names it.",
        M5 "What was overtaken on its way is not staged.",
        M6 "A step counts for its own move only.",
        M9 "A fence holds reads before it is applied.",
        M11 "Whatever a slot held before it is imported is dead.",
        M12 "The handover compares that the move was not aborted.",
        M14 "A step of a move that is over for a slot is refused.",
        M15 "A write is judged by what is appended, not by what is applied.",
        M16 "The handover compares that neither group has begun another history.",
        M18 "Lives of keys are numbered on where the source had come to.",
        M19 "A flush concerns the slots that are owned, and nothing that is being imported.",
        M20 "What has expired at the source has expired at the target.",
        M21 "Results of writes move with their slot.",
        M22 "A replica that has not seen what a session saw of the slot map does not answer it.",
        M23 "A snapshot of the slots holds their fences.",
        M24 "Nothing is ready before every key was sent.",
        M25 "A fence that leads to nothing is resolved by whoever fenced.",
        M26 "A move begins by the slot map that it was planned with.",
        M27 "A slot map older than what a log knows was restored from a backup.",
        M29 "What an earlier pull sent is not staged.",
        M30 "What has moved away is dropped only when its new owner has it for good.",
        M31 "In another history nothing is served before the slots were looked up.",
        M32 "A move is forgotten only when both sides have nothing left of it.",
        M33 "How fresh a look at a move is counts from when it was asked for.",
        M34 "A frame is staged only where the one before it ended.",
        M35 "A move whose target has lost what it held is copied again.",
        M36 "Nothing is scanned before everything the target has was applied.",
        M37 "A source fences only when the target holds everything but the end.",
        M38 "A new leader goes on where its own log ends.",
        M39 "What follows a flush is taken as if nothing had been there.",
        M40 "A side has nothing left of a move when that is committed.",
    }
}

/// Whether the rule is broken in this thread.
#[cfg(not(mutants))]
#[inline(always)]
#[must_use]
pub const fn is_broken(_: Rule) -> bool {
    false
}

#[cfg(mutants)]
mod broken {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        /// In a thread that breaks none itself it is the one that the environment names.
        static BROKEN: Cell<Option<Rule>> = Cell::new(named_by_environment());
    }

    fn named_by_environment() -> Option<Rule> {
        let name = std::env::var("SIMPLEKV_BREAK").ok()?;
        Some(Rule::named(&name).expect("SIMPLEKV_BREAK names a rule"))
    }

    /// Breaks a rule in this thread, until another is broken, or none.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.set(rule);
    }

    /// Whether the rule is broken in this thread.
    #[must_use]
    pub fn is_broken(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }
}

#[cfg(mutants)]
pub use broken::{break_rule, is_broken};
