//! What the kernel gets of each class, and how much.

use crate::packets::{ICMP, ip};
use crate::rig::{FULL, OUTSIDE, Rig, SECOND};
use control::command::{Command, ExceptionView, Reply};
use control::ipvsadm::Executor;
use forwarder::pipeline::DropReason;
use forwarder::police::Class;

fn class(rig: &mut Rig, class: Class) -> ExceptionView {
    let Ok(Reply::Exceptions(views)) = rig.execute(Command::Exceptions) else { panic!() };
    views.into_iter().find(|view| view.class == class).unwrap()
}

/// So many pings at once by a worker's queue; answers how many of them the kernel got.
fn ping(rig: &mut Rig, worker: usize, count: usize) -> usize {
    let ping = ip([10, 9, 0, 1].into(), [10, 0, 0, 1].into(), ICMP, 0, 0, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    for _ in 0..count {
        rig.receive(worker, OUTSIDE, &ping);
    }
    rig.settle();
    rig.to_kernel().len()
}

#[test]
fn a_limit_holds_for_each_worker_from_when_it_is_set() {
    let mut rig = Rig::new(&[FULL; 2]);
    assert_eq!(ping(&mut rig, 0, 50), 50, "a tenth of a second's worth comes at once: 500 of 5000");
    let set = |limit| Command::SetExceptionLimit { class: Class::Icmp, limit };
    rig.execute(set(200)).unwrap();
    assert_eq!((ping(&mut rig, 0, 50), ping(&mut rig, 1, 50)), (20, 20));
    assert_eq!(ping(&mut rig, 0, 50), 0);
    rig.wait(SECOND / 10);
    assert_eq!(ping(&mut rig, 0, 50), 20);
    rig.execute(set(0)).unwrap();
    rig.wait(SECOND);
    assert_eq!(ping(&mut rig, 1, 50), 0);
    let (sent, passed) = (300, 110);
    let view = ExceptionView { class: Class::Icmp, limit: 0, packets: passed, policed: sent - passed, dropped: 0 };
    assert_eq!(class(&mut rig, Class::Icmp), view);
    let untouched = ExceptionView { class: Class::Other, limit: 200_000, packets: 0, policed: 0, dropped: 0 };
    assert_eq!(class(&mut rig, Class::Other), untouched);
    assert_eq!(rig.dropped(DropReason::KernelPoliced), sent - passed);
    rig.check_identities();
}

#[test]
fn a_full_queue_to_the_kernel_has_a_name_of_its_own() {
    let mut rig = Rig::new(&[FULL]);
    rig.kernel_room(10);
    assert_eq!(ping(&mut rig, 0, 25), 10);
    let view = class(&mut rig, Class::Icmp);
    assert_eq!((view.packets, view.policed, view.dropped), (10, 0, 15));
    assert_eq!((rig.dropped(DropReason::KernelFull), rig.dropped(DropReason::KernelPoliced)), (15, 0));
    rig.check_identities();
}
