//! rr and wrr choose what the kernel chooses, through any sequence of changes to the list.

use lb_common::abi::Load;
use lb_common::sched::{Request, Scheduler, choose};
use proptest::prelude::*;

use super::super::{Course, Model};
use super::entry;
use super::kernel::Service;

const REQUEST: Request = Request {
    client: 0,
    destination: 0,
    client_port: 0,
};

#[derive(Clone, Debug)]
enum Op {
    Choose(u8),
    Add(u16),
    Edit(u8, u16),
    Delete(u8),
    Rewrite,
    Overload(u8, bool),
}

fn weight() -> impl Strategy<Value = u16> {
    prop_oneof![3 => 0..8u16, 2 => (0..6u16).prop_map(|w| w * 6), 2 => Just(100)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..30u8).prop_map(Op::Choose),
        2 => weight().prop_map(Op::Add),
        3 => (any::<u8>(), weight()).prop_map(|(at, w)| Op::Edit(at, w)),
        1 => any::<u8>().prop_map(Op::Delete),
        1 => Just(Op::Rewrite),
    ]
}

fn op_with_overload() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => op(),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(at, set)| Op::Overload(at, set)),
    ]
}

/// The data plane beside the kernel.
struct Both {
    scheduler: Scheduler,
    kernel: Service,
    course: Course,
    model: Model,
    next: u8,
}

impl Both {
    fn new(scheduler: Scheduler) -> Self {
        let kernel = match scheduler {
            Scheduler::Rr => Service::rr(),
            _ => Service::wrr(),
        };
        let mut course = Course::default();
        let layout = course.next(scheduler, Vec::new(), 0);
        let model = Model::new(scheduler, 0, layout, vec![Load::default(); 256]);
        Self {
            scheduler,
            kernel,
            course,
            model,
            next: 1,
        }
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let len = self.kernel.list.len();
        let at = |n: u8| usize::from(n) % len.max(1);
        match *op {
            Op::Choose(times) => {
                for _ in 0..times {
                    let chosen = choose(&self.model, &REQUEST).map(|c| c.real() as u8);
                    prop_assert_eq!(chosen, self.kernel.choose(), "{:?}", &self.kernel);
                }
                return Ok(());
            }
            Op::Overload(n, set) if len > 0 => {
                let dest = &mut self.kernel.list[at(n)];
                dest.overloaded = set;
                self.model.loads[usize::from(dest.n)].conns =
                    if set { Load::OVERLOADED } else { 0 };
                return Ok(());
            }
            Op::Add(weight) if self.next < u8::MAX => {
                self.kernel.add(self.next, weight);
                self.next += 1;
            }
            Op::Edit(n, weight) if len > 0 && self.kernel.list[at(n)].weight != weight => {
                self.kernel.edit(at(n), weight);
            }
            Op::Delete(n) if len > 0 => self.kernel.delete(at(n)),
            _ => {}
        }
        let entries = self
            .kernel
            .list
            .iter()
            .map(|d| entry(d.n, d.weight))
            .collect();
        let layout = self.course.next(self.scheduler, entries, self.model.turn());
        let loads = std::mem::take(&mut self.model.loads);
        self.model = Model::new(self.scheduler, 0, layout, loads);
        Ok(())
    }
}

proptest! {
    #[test]
    fn rr_goes_on_where_the_kernel_does(ops in prop::collection::vec(op(), 1..40)) {
        let mut both = Both::new(Scheduler::Rr);
        for op in &ops {
            both.apply(op)?;
        }
    }

    #[test]
    fn wrr_goes_on_where_the_kernel_does(ops in prop::collection::vec(op(), 1..40)) {
        let mut both = Both::new(Scheduler::Wrr);
        for op in &ops {
            both.apply(op)?;
        }
    }

    #[test]
    fn rr_leaves_out_overloaded_ones_as_the_kernel_does(ops in prop::collection::vec(op_with_overload(), 1..40)) {
        let mut both = Both::new(Scheduler::Rr);
        for op in &ops {
            both.apply(op)?;
        }
    }

    #[test]
    fn wrr_leaves_out_overloaded_ones_as_the_kernel_does(ops in prop::collection::vec(op_with_overload(), 1..40)) {
        let mut both = Both::new(Scheduler::Wrr);
        for op in &ops {
            both.apply(op)?;
        }
    }
}
