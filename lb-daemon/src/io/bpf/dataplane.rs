//! The data plane as the engine holds it.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::{ABI, Settings, program};
use lb_common::counter::Counter;
use lb_common::net::Proto;
use lb_common::table::SLOTS_PER_BUCKET;

use super::conns::{self, Connections};
use super::error::{ApplyError, DetachError, MapError, ReadError, StartError};
use super::gate::Gate;
use super::grace::Grace;
use super::ground::Ground;
use super::layout::{self, Layout, layouts};
use super::links::{self, Interface, Refusals};
use super::maps::Maps;
use super::object::{self, Programs};
use super::options::{Hop, Options};
use super::outlook;
use super::packets::PacketLog;
use super::pins::{Pins, file};
use super::readings::Growth;
use super::report::{
    Applied, Connection, ConnectionFilter, Detached, InterfaceStatus, Maintained, Occupied,
    ServiceReading, Status,
};
use super::state::State;
use super::sweep::Sweeper;
use super::tables::KernelTables;
use crate::core::desired::{Desired, ServiceId, XdpMode};
use crate::core::outlook::{Kept, Outlook};
use crate::io::hold::Hold;
use crate::io::lock::InstanceLock;

/// The director's programs in the object: the one that takes packets, and those that it hands some over to, in the order of
/// [`program`].
const PROGRAMS: [&str; 1 + program::LEN as usize] = ["lb", "lb6", "fragments4", "fragments6"];

/// The XDP program, its maps and what this daemon knows of them.
///
/// Dropping it leaves everything in the kernel as it is, pinned and forwarding.
#[derive(Debug)]
pub struct Dataplane {
    pins: Pins,
    program: Xdp,
    /// Where it is to run.
    interfaces: Vec<Interface>,
    /// Why drivers did not take the program.
    refusals: Refusals,
    layouts: Vec<Layout>,
    state: State,
    sweeper: Sweeper,
    growth: Growth,
    packets: Option<PacketLog>,
    adopted: bool,
    _lock: InstanceLock,
}

impl Dataplane {
    /// Loads the program, or adopts what an earlier daemon left, and attaches it to the interfaces.
    ///
    /// Everything that can be refused is looked at before anything is changed.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let layouts = layouts(options.capacity);
        let fits = |pins: &Pins| {
            pins.check_abi()?;
            pins.check(&layouts)
        };
        let _undisturbed = Hold::new();
        let ground = Ground::look(&options.pin_dir, &options.interfaces, options.replace, fits)?;
        ground.build(|ground| Self::bring_up(options, layouts, ground))
    }

    fn bring_up(
        options: &Options,
        layouts: Vec<Layout>,
        ground: Ground,
    ) -> Result<Self, StartError> {
        let Ground {
            pins,
            interfaces,
            adopted,
            lock,
        } = ground;
        let maps = if adopted {
            pins.maps()
        } else {
            pins.begin_maps(&layouts)?;
            pins.new_maps()
        };
        let (programs, names, packets) = if options.log_packets {
            let names = pins.logging_programs(&PROGRAMS);
            let (programs, packets) = object::load_logging(&names, &maps, &layouts)?;
            (programs, names, Some(packets))
        } else {
            let names = pins.programs_of(object::DIGEST, &PROGRAMS);
            let programs = if adopted {
                object::load_once(&names, &pins, &layouts)?
            } else {
                object::load(&names, &maps, &layouts)?
            };
            (programs, names, None)
        };
        let Programs {
            first: mut program,
            others,
        } = programs;
        if !adopted {
            pins.check_new(&layouts)?;
            pins.write_settings(&settings(options)?)?;
            pins.finish_maps()?;
        }
        let maps = open(&pins, &layouts)?;
        let mut state = State::adopt(maps, Grace::of_kernel().map_err(no_grace)?)?;
        let mut sweeper = Sweeper::new(&state.maps)?;
        sweeper.cut(state.cut.drain(..));
        // Whatever program runs on the interfaces until the next step: of one ABI each may hand packets over to each.
        pins.hand_over_to(&others)?;
        let refusals = links::run_on(
            &pins,
            &mut program,
            &interfaces,
            options.mode,
            options.replace,
        )?;
        pins.keep_programs(&names)?;
        Ok(Self {
            pins,
            program,
            interfaces,
            refusals,
            layouts,
            state,
            sweeper,
            growth: Growth::default(),
            packets,
            adopted,
            _lock: lock,
        })
    }

    /// What the program says of single packets, if it is to; once.
    pub fn take_packets(&mut self) -> Option<PacketLog> {
        self.packets.take()
    }

    /// Makes the maps equal to what is desired; touches only what differs.
    ///
    /// `hop` says how a real server's address is reached; it is asked for each address that gets a new slot.
    pub fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Applied, ApplyError> {
        let result = self.state.apply(desired, hop);
        self.sweeper.cut(self.state.cut.drain(..));
        if let Err(ApplyError::Map(_)) = result {
            // The maps hold less than what is known of them now, or more: only they can tell.
            self.state.reread()?;
        }
        result
    }

    /// The switch by which new connections are served or left to another director.
    pub fn gate(&self) -> Gate {
        self.state.maps.gate()
    }

    /// Runs the program on these interfaces and no others.
    pub fn set_interfaces(
        &mut self,
        names: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError> {
        let interfaces = links::interfaces(names)?;
        if !replace {
            links::check(&self.pins, &interfaces)?;
        }
        let refusals = links::run_on(&self.pins, &mut self.program, &interfaces, mode, replace)?;
        // What was refused before and still runs in the stack was not tried again.
        self.refusals.extend(refusals);
        self.interfaces = interfaces;
        Ok(())
    }

    /// The names of interfaces from which somebody has taken the program, which includes that another one took its place in our
    /// link. Interfaces that are gone are not among them.
    pub fn taken_off(&self) -> Vec<String> {
        links::without(&self.pins, &self.program, &self.interfaces)
            .map(|interface| interface.name.clone())
            .collect()
    }

    /// The addresses of all real servers in use, with those that are being drained: whose next hops matter.
    pub fn real_addresses(&self) -> Vec<IpAddr> {
        self.state.real_addresses()
    }

    /// Tells how a real server's address is reached now. Returns how many slots changed.
    pub fn set_next_hop(&mut self, addr: IpAddr, hop: Hop) -> Result<usize, ApplyError> {
        self.state.set_next_hop(addr, hop)
    }

    /// Ends all connections of a real server that was removed: the next packet of each is judged anew. Whether there is such
    /// a real server. What is left of them in the table is taken out by the next calls of [`Self::maintain`].
    pub fn cut(&mut self, service: ServiceId, real: SocketAddr) -> Result<bool, ApplyError> {
        let was_removed = self.state.cut(service, real);
        self.sweeper.cut(self.state.cut.drain(..));
        Ok(was_removed?)
    }

    /// One slice of upkeep: walks the connection table for about `budget`, frees what can be freed, and updates
    /// the rates when they are due. Call it a few times a second.
    pub fn maintain(&mut self, now: Instant, budget: Duration) -> Result<Maintained, ReadError> {
        let tick = conns::now(self.state.maps.settings()?.clock_shift);
        let slice = self
            .sweeper
            .slice(&mut self.state.maps, now, tick, budget)?;
        let reals_freed = self.state.reap(|slot| self.sweeper.found(slot))?;
        self.state.look_at_growth(&mut self.growth, now)?;
        Ok(Maintained {
            connections_freed: slice.freed,
            loads_mended: slice.mended,
            reals_freed,
            walk_done: slice.walk_done,
        })
    }

    /// Every service, with its real servers' loads, traffic and rates.
    pub fn services(&self) -> Result<Vec<ServiceReading>, ReadError> {
        Ok(self
            .state
            .read_all(&self.growth, |slot| self.sweeper.clients(slot))?)
    }

    /// How many packets ended in each way.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError> {
        let one = |counter: &Counter| Ok((*counter, self.state.maps.counter(*counter as u32)?));
        Counter::ALL.iter().map(one).collect()
    }

    /// A listing of the connections. It holds the maps by itself: read it on another thread, as slowly as the
    /// reader wants.
    pub fn connections(&self, filter: ConnectionFilter) -> Result<Connections, ReadError> {
        let maps = &self.state.maps;
        let connections = Connections::new(maps.connections()?, filter, maps.settings()?);
        if !filter.templates {
            return Ok(connections);
        }
        let services = self.state.services.iter();
        let services = services.map(|(index, s)| (*index, (s.key, s.mask())));
        Ok(connections.with_clients(maps.templates(), services.collect()))
    }

    /// What the choices of the service with this virtual address and port go by now, for connections to a destination;
    /// `None` when there is none.
    pub fn outlook(
        &self,
        proto: Proto,
        vip: SocketAddr,
        destination: IpAddr,
    ) -> Result<Option<Outlook>, ReadError> {
        match self.state.key_of(proto, vip) {
            Some(key) => Ok(self.state.outlook(key, destination)?),
            None => Ok(None),
        }
    }

    /// At which real server of this service a persistent client is kept.
    pub fn kept(
        &self,
        proto: Proto,
        vip: SocketAddr,
        client: IpAddr,
    ) -> Result<Option<Kept>, ReadError> {
        match self.state.key_of(proto, vip) {
            Some(key) => Ok(self.state.kept(key, client)?),
            None => Ok(None),
        }
    }

    /// The connection that is recorded of a flow.
    pub fn connection(
        &self,
        proto: Proto,
        client: SocketAddr,
        vip: SocketAddr,
    ) -> Result<Option<Connection>, ReadError> {
        Ok(self.state.connection(&outlook::flow(proto, client, vip))?)
    }

    /// The state of the whole.
    pub fn status(&self) -> Result<Status, ReadError> {
        let buckets = self.state.maps.connections()?.buckets_by_family();
        let of = |used: u64, buckets: u32| Occupied {
            used,
            max: u64::from(buckets) * SLOTS_PER_BUCKET as u64,
        };
        let ([buckets4, buckets6], [live4, live6]) = (buckets, self.sweeper.live());
        let room = &self.state.room;
        Ok(Status {
            adopted: self.adopted,
            program: self.program_id(),
            interfaces: self.attachments().map_err(ReadError::Interfaces)?,
            connections: of(live4, buckets4),
            connections6: of(live6, buckets6),
            reals: room.reals.used(),
            reals_max: room.reals.len(),
            services: room.services.used(),
            services_max: room.services.len(),
            memory: layout::memory(&self.layouts, aya::util::nr_cpus().unwrap_or(1)),
        })
    }

    fn attachments(&self) -> std::io::Result<Vec<InterfaceStatus>> {
        let mut all = links::status(&self.pins)?;
        for interface in all.iter_mut().filter(|interface| !interface.native) {
            interface.refused = self.refusals.get(&interface.ifindex).cloned();
        }
        Ok(all)
    }

    fn program_id(&self) -> u32 {
        self.program.info().map_or(0, |info| info.id())
    }

    /// Takes everything out of the kernel.
    pub fn detach(self) -> Result<Detached, DetachError> {
        links::remove_everything(&self.pins)
    }

    /// Gives the program a frame as if it came by the loopback interface (`BPF_PROG_TEST_RUN`): what it would do with
    /// it, as the number of an XDP action, and what the frame is then. Connections and counters are real.
    pub fn run_frame(&mut self, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        let mut out = vec![0; frame.len() + 256];
        let result = self
            .program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .map_err(io::Error::other)?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// For tests: lets time pass at once.
    #[doc(hidden)]
    pub fn shift_clock(&mut self, by: Duration) -> Result<(), ApplyError> {
        let mut settings = self.state.maps.settings()?;
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        settings.clock_shift = settings.clock_shift.wrapping_add(by);
        Ok(self.state.maps.set_settings(&settings)?)
    }

    /// For tests: how many generations wait for the end of a grace period.
    #[doc(hidden)]
    pub fn awaiting_grace(&self) -> usize {
        self.state.retired.len()
    }

    /// For tests: from the `n`th further write on, everything fails, as if the daemon had been killed there.
    #[doc(hidden)]
    pub fn stop_after_writes(&mut self, n: u64) {
        self.state.maps.stop_after(n);
    }
}

/// Whether this binary has the XDP programs in it.
pub fn is_built_in() -> bool {
    object::embedded().is_some()
}

/// Opens all maps.
fn open(pins: &Pins, layouts: &[Layout]) -> Result<Maps, MapError> {
    let tables = KernelTables::new(|name| pins.open(name))?;
    Maps::new(layouts, |layout| pins.region(layout), Box::new(tables))
}

/// The settings of new maps.
fn settings(options: &Options) -> Result<Settings, StartError> {
    Ok(Settings {
        abi: ABI,
        bucket_mask: layout::buckets(options.capacity.connections) - 1,
        bucket_mask6: layout::buckets(layout::connections6(options.capacity)) - 1,
        hash_key: secret()?,
        ..Settings::default()
    })
}

/// A key for the connection table's hash that nobody can guess.
fn secret() -> Result<[u64; 2], StartError> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0; 16];
    let read = std::fs::File::open(&path).and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(file("read", &path))?;
    let n = u128::from_ne_bytes(bytes);
    Ok([n as u64, (n >> 64) as u64])
}

fn no_grace(source: io::Error) -> MapError {
    MapError {
        action: "make",
        map: "lb_outer",
        source,
    }
}
