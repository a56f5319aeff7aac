//! How are packets sent through a program, and what did it take?

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, IterableMap, MapData, ProgramArray};
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader, Pod, TestRun, TestRunOptions};

use crate::frame::{self, DIRECTOR_MAC, PORT};
use crate::product::FAR_END;
use crate::run::{FRAME_LEN, Run, client};

/// How many packets one test run sends: so few that most runs are not interrupted.
pub(crate) const CHUNK: u32 = 4096;

/// The key of the yardstick's hash map.
#[repr(C)]
#[derive(Clone, Copy)]
struct FlowKey {
    src: u32,
    dst: u32,
    ports: u32,
    proto: u32,
}

/// The value of the yardstick's hash map.
#[repr(C)]
#[derive(Clone, Copy)]
struct Macs {
    dst_src: u64,
    src_rest: u32,
    pad: u32,
}

/// [`Run`], as the value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value(Run);

// SAFETY: integers without padding; any bits are valid.
unsafe impl Pod for FlowKey {}
// SAFETY: as above.
unsafe impl Pod for Macs {}
// SAFETY: as above.
unsafe impl Pod for Value {}

/// The harness, and the programs that the balancer is compared with.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    run: Array<MapData, Value>,
    programs: ProgramArray<MapData>,
    flows: HashMap<MapData, FlowKey, Macs>,
    /// `struct xdp_md` of a frame that came in by the director's interface.
    context: Vec<u8>,
}

impl Kernel {
    /// Loads the object of the benchmark's programs.
    pub(crate) fn load(object: &Path, ingress: u32) -> Result<Self> {
        let bytes = fs::read(object).with_context(|| {
            format!(
                "cannot read {}\nhint: cargo xtask bench builds it",
                object.display()
            )
        })?;
        let mut ebpf = EbpfLoader::new().load(&bytes)?;
        for name in [
            "harness",
            "nothing",
            "grow",
            "floor",
            "lookup",
            "limit",
            "limit_insert",
        ] {
            xdp(&mut ebpf, name)?.load()?;
        }
        // The kernel patches itself before and after the test run of a program that runs nowhere else, and waits until all processors
        // have noticed, which takes much longer than the run.
        xdp(&mut ebpf, "harness")?.attach(FAR_END, XdpMode::Driver)?;
        let mut take = |name| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        let run = Array::try_from(take("RUN")?)?;
        let programs = ProgramArray::try_from(take("PROGRAMS")?)?;
        let flows = HashMap::try_from(take("FLOWS")?)?;
        let mut new: Array<MapData, Macs> = Array::try_from(take("NEW")?)?;
        let mut run_of_macs = Run::default();
        frame::expect(&mut run_of_macs, frame::real_mac(1), DIRECTOR_MAC, 0);
        let macs = Macs {
            dst_src: run_of_macs.want,
            src_rest: run_of_macs.want_rest,
            pad: 0,
        };
        new.set(0, macs, 0)?;
        let words = [0, FRAME_LEN as u32, 0, ingress, 0, 0];
        let context = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(Self {
            ebpf,
            run,
            programs,
            flows,
            context,
        })
    }

    /// A program of the object.
    pub(crate) fn program(&mut self, name: &str) -> Result<ProgramFd> {
        Ok(xdp(&mut self.ebpf, name)?.fd()?.try_clone()?)
    }

    /// Puts a program under test.
    pub(crate) fn test(&mut self, program: &ProgramFd) -> Result<()> {
        Ok(self.programs.set(0, program, 0)?)
    }

    /// Sends packets through the program under test; nanoseconds a packet. `run` then stands at the next flow.
    pub(crate) fn send(&mut self, run: &mut Run, packets: u32) -> Result<f64> {
        run.packets = packets;
        (run.sent, run.wrong) = (0, 0);
        self.run.set(0, Value(*run), 0)?;
        let context = self.context.clone();
        let options = TestRunOptions {
            data_in: Some(&[0; FRAME_LEN]),
            ctx_in: Some(&context),
            repeat: packets + 1,
            ..TestRunOptions::default()
        };
        let result = xdp(&mut self.ebpf, "harness")?.test_run(options)?;
        let Value(after) = self.run.get(&0, 0)?;
        *run = after;
        ensure!(
            result.return_value == 0 && run.sent == packets,
            "{} of {packets} packets were sent (the last one's verdict: {})",
            run.sent,
            result.return_value
        );
        ensure!(
            run.wrong == 0,
            "{} of {packets} frames did not come out as they must",
            run.wrong
        );
        Ok((run.ended - run.began) as f64 / f64::from(packets))
    }

    /// Sends one frame through a program; the verdict, and what came out.
    pub(crate) fn send_one(&self, program: &mut Xdp, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut out = vec![0; 256];
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&self.context),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Takes flows to a service out of the yardstick's hash map.
    pub(crate) fn forget(&mut self, vip: Ipv4Addr, flows: std::ops::Range<u32>) -> Result<()> {
        for flow in flows {
            let (addr, port) = client(flow);
            let key = FlowKey {
                src: addr.to_be(),
                dst: u32::from(vip).to_be(),
                ports: u32::from(port.to_be()) | u32::from(PORT.to_be()) << 16,
                proto: 6,
            };
            self.flows.remove(&key)?;
        }
        Ok(())
    }

    /// Memory of the yardstick's hash map, in bytes, as the kernel counts it.
    pub(crate) fn hash_memory(&self) -> Result<u64> {
        memory(self.flows.map())
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

/// Memory of a map, in bytes, as the kernel counts it.
pub(crate) fn memory(map: &MapData) -> Result<u64> {
    use std::os::fd::{AsFd, AsRawFd};
    let fd = map.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line
        .context("the kernel does not say what a map takes")?
        .trim()
        .parse()?)
}
