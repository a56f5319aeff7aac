//! When does a persistence template end?
//!
//! IPVS looks at a template when its time is over; if connections opened under it still last, it looks again every
//! minute. So a template outlives its last connection by up to a minute.

use lb_common::abi::seconds_to_ticks;
use lb_common::conn::Tick;
use lb_common::template::Template;

/// How long IPVS leaves a template alone that it found with connections.
pub const RETRY: u32 = seconds_to_ticks(60);

/// When a template ends whose last connection ends, or ended, at `last_end`; as far as is known now.
pub fn ends_at(template: Template, last_end: Option<Tick>) -> Tick {
    let first_look = template.expires();
    match last_end.map(|end| end.since(first_look)) {
        Some(beyond) if beyond > 0 => {
            first_look.plus(beyond.unsigned_abs().div_ceil(RETRY) * RETRY)
        }
        _ => first_look,
    }
}

/// When a template is looked at next: what a listing shows as its time of expiry.
pub fn next_look(template: Template, now: Tick) -> Tick {
    let first_look = template.expires();
    match now.since(first_look) {
        late if late >= 0 => first_look.plus((late.unsigned_abs() / RETRY + 1) * RETRY),
        _ => first_look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Tick = Tick(u32::MAX - 100);

    fn template() -> Template {
        Template::new(1, 0, START)
    }

    #[test]
    fn without_connections_its_time_is_all_it_has() {
        assert_eq!(ends_at(template(), None), START);
        assert_eq!(ends_at(template(), Some(Tick(START.0 - 1))), START);
        assert_eq!(ends_at(template(), Some(START)), START);
    }

    #[test]
    fn it_lasts_to_the_first_look_after_its_last_connection() {
        assert_eq!(ends_at(template(), Some(START.plus(1))), START.plus(RETRY));
        assert_eq!(
            ends_at(template(), Some(START.plus(RETRY))),
            START.plus(RETRY)
        );
        assert_eq!(
            ends_at(template(), Some(START.plus(RETRY + 1))),
            START.plus(2 * RETRY)
        );
    }

    #[test]
    fn a_listing_shows_the_next_look() {
        assert_eq!(next_look(template(), Tick(START.0 - 5)), START);
        assert_eq!(next_look(template(), START), START.plus(RETRY));
        assert_eq!(
            next_look(template(), START.plus(RETRY + 3)),
            START.plus(2 * RETRY)
        );
    }
}
