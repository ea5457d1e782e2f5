"""Rollouts over a real broker, through the REST interface: to devices that answer as agents do."""

import time
from datetime import UTC, datetime

import pytest

from kenpin_controller.errors import ConflictError, NotFoundError
from kenpin_controller.rollouts import plan as p
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import Policy as WirePolicy
from kenpin_wire.messages import (
    Score,
    ScoreAggregate,
    ShadowPolicy,
    Verdict,
)
from kenpin_wire.shadow import Disagreement
from kenpin_wire.topics import Channel
from support import wait_until
from support.obedient import NEW, OLD, Obedient


@pytest.fixture
def site(controller, make):
    for version in ("1", "2"):
        controller.site.add_release(make.release(version=version), who="ana")
    return controller.site


@pytest.fixture
def cameras(site, new_agent, knows):
    """Makes obedient devices; `cameras(3)` on one line, `cameras(3, line="line-b")` on another."""
    made = {}

    def arrive(count, line="line-a", **options):
        for number in range(len(made) + 1, len(made) + count + 1):
            name = f"cam-{number}"
            agent = new_agent(name, line)
            knows(name)
            made[name] = Obedient(agent, **options)
        return made

    yield arrive
    for device in made.values():
        device.stop()


def until(api, rollout_id, wanted, timeout_s=20):
    view = {}

    def reached():
        view.update(api.get(f"/rollouts/{rollout_id}").json())
        return view["status"] == wanted and view["finished"]

    wait_until(reached, timeout_s=timeout_s, what=f"{wanted}, now {view.get('sentence')}")
    return view


def start(api, **fields):
    answer = api.post("/rollouts", json={"release": {"name": "metal", "version": "2"}} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_release_goes_to_a_canary_first_and_then_to_all(api, cameras):
    made = cameras(4)
    rollout = start(api, line="line-a")
    assert [wave["devices"] for wave in rollout["waves"]] == [["cam-1"], ["cam-2", "cam-3", "cam-4"]]
    view = until(api, rollout["id"], "finished")
    assert {name: d["phase"] for name, d in view["devices"].items()} == dict.fromkeys(made, "committed")
    texts = [entry["text"] for entry in view["timeline"]]
    assert texts[0] == "wave 1 begins: cam-1"
    assert texts.index("committed") < texts.index("wave 2 begins: cam-2, cam-3, cam-4")
    assert view["waves"][0]["gates"][0] == {
        "name": "success",
        "state": "open",
        "sentence": "1 of 1 succeeded.",
    }


def test_a_release_that_fails_on_the_canary_is_ordered_of_nobody_else(api, cameras):
    made = cameras(4, fails="rolled_back")
    view = until(api, start(api)["id"], "reverted")
    assert "success gate" in view["sentence"]
    assert [name for name, d in made.items() if d.agent.of(Channel.SET_RELEASE)] == ["cam-1"]


def test_a_release_that_rejects_good_parts_is_sent_back_and_the_others_never_get_it(api, cameras):
    made = cameras(4)
    now_s = int(time.time())
    for device in made.values():
        parts(device, "metal-1", now_s - 600, n=200, rejects=2)
    for name in made:  # or the gate has nothing to compare with yet
        wait_until(lambda n=name: api.get(f"/devices/{n}/scores").json(), what=f"the history of {name}")
    rollout = start(api)
    canary = made["cam-1"]
    wait_until(lambda: canary.runs == NEW, what="the switch")
    wait_until(
        lambda: "judged 0 of 30" in api.get(f"/rollouts/{rollout['id']}").json()["sentence"], what="the wait"
    )
    parts(canary, "metal-2", int(time.time()), n=40, rejects=25)
    view = until(api, rollout["id"], "reverted")
    assert "rejects 25 of 40 parts since its switch, 2 of 200 before" in view["sentence"]
    assert canary.switched_to == ["metal-2", "metal-1"]
    assert view["devices"]["cam-1"]["stage"] == "returned"
    assert [name for name, d in made.items() if d.agent.of(Channel.SET_RELEASE)] == ["cam-1"]


def parts(device, release, second_s, *, n, rejects):
    device.agent.say(
        Channel.SCORE_AGG,
        ScoreAggregate(ts=datetime.fromtimestamp(second_s, UTC), release=release, n=n, anomalies=rejects),
    ).wait_for_publish(5)


def shadow_plan(**fields):
    return {
        "policy": {"shadow": {"frames": 300}, **fields},
        "gates": {"shadow": {}},
        "devices": ["cam-1"],
    }


def test_a_shadow_report_decides_whether_a_device_switches(api, cameras):
    made = cameras(1)
    rollout = start(api, **shadow_plan())
    wait_until(lambda: made["cam-1"].agent.of(Channel.SET_RELEASE), what="the order")
    order = made["cam-1"].agent.of(Channel.SET_RELEASE)[0]
    assert order.policy.approval
    assert order.policy.shadow == ShadowPolicy(frames=300)
    made["cam-1"].shadow(ks=0.05, agree=0.99)
    view = until(api, rollout["id"], "finished")
    assert made["cam-1"].runs == NEW
    assert view["devices"]["cam-1"]["shadow"]["frames"] == 300
    assert view["devices"]["cam-1"]["gate"]["state"] == "open"


def test_a_bad_shadow_report_ends_it_before_the_switch(api, cameras):
    made = cameras(1)
    rollout = start(api, **shadow_plan())
    wait_until(lambda: made["cam-1"].agent.of(Channel.SET_RELEASE), what="the order")
    made["cam-1"].shadow(ks=0.9)
    view = until(api, rollout["id"], "reverted")
    assert "KS 0.90" in view["sentence"]
    assert made["cam-1"].switched_to == []


def test_a_person_approves_a_staged_camera_with_its_proposed_threshold(api, cameras, site):
    made = cameras(1)
    rollout = start(api, **shadow_plan(approval=True))
    path = f"/rollouts/{rollout['id']}"
    wait_until(lambda: made["cam-1"].agent.of(Channel.SET_RELEASE), what="the order")
    made["cam-1"].shadow(proposed_threshold=2.25, proposed_false_rejects=0.01)
    wait_until(lambda: api.get(path).json()["devices"]["cam-1"]["can_approve"], what="the wait")
    made["cam-1"].agent.say(Channel.SCORE, Score(score=9.0, threshold=2.0, verdict=Verdict.ANOMALY))
    wait_until(
        lambda: api.get("/devices/cam-1").json()["score"] == 9.0, what="a bad part, which holds nothing up"
    )
    assert "waits for a person's yes" in api.get("/devices/cam-1/why").json()["sentence"]
    assert made["cam-1"].switched_to == []
    answer = api.post(f"{path}/approve", json={"device": "cam-1", "with_threshold": True})
    assert answer.status_code == 200, answer.text
    until(api, rollout["id"], "finished")
    threshold = made["cam-1"].agent.of(Channel.SET_CONFIG)[-1].threshold
    assert (threshold.release, threshold.value) == ("metal-2", 2.25)
    api.post(f"{path}/return", json={"why": "too strict"})
    until(api, rollout["id"], "reverted")
    assert made["cam-1"].runs == OLD
    assert made["cam-1"].agent.of(Channel.SET_CONFIG)[-1].threshold is None


def test_a_threshold_goes_out_in_waves_and_back(api, cameras):
    made = cameras(4)
    body = {"release": {"name": "metal", "version": "1"}, "threshold": {"value": 3.5}}
    rollout = start(api, **body)
    until(api, rollout["id"], "finished")
    for device in made.values():
        assert device.agent.of(Channel.SET_CONFIG)[-1].threshold.value == 3.5
        assert device.agent.of(Channel.SET_RELEASE) == []
    api.post(f"/rollouts/{rollout['id']}/return", json={"why": "misread"})
    until(api, rollout["id"], "reverted")
    assert all(device.agent.of(Channel.SET_CONFIG)[-1].threshold is None for device in made.values())


def test_a_threshold_of_a_release_that_a_device_does_not_run_passes_it_by(api, cameras):
    cameras(1)
    rollout = start(api, threshold={"value": 3.5})
    view = until(api, rollout["id"], "finished")
    assert "which this threshold is not for" in view["devices"]["cam-1"]["reason"]


def test_a_pinned_device_is_passed_by_and_a_tagged_one_found(api, cameras):
    made = cameras(3)
    assert api.put("/devices/cam-2/pin", json={"pinned": True, "why": "audit"}).json()["release"] == "metal-1"
    for name in ("cam-2", "cam-3"):
        assert api.put(f"/devices/{name}/tags", json={"tags": ["glossy", "night"]}).json() == [
            "glossy",
            "night",
        ]
    view = until(api, start(api, tag="glossy")["id"], "finished")
    assert set(view["devices"]) == {"cam-2", "cam-3"}
    assert view["devices"]["cam-2"]["reason"] == "pinned to metal-1 by api@127.0.0.1: audit"
    assert [str(d.runs) for d in made.values()] == ["metal-1", "metal-1", "metal-2"]
    assert api.put("/devices/cam-2/pin", json={"pinned": False}).json() is None
    assert api.get("/pins").json() == []


def test_one_click_sends_a_device_back_by_a_new_order(api, cameras):
    made = cameras(1)
    until(api, start(api)["id"], "finished")
    assert api.post("/devices/cam-1/return", json={"why": ""}).status_code == 422
    rev = api.post("/devices/cam-1/return", json={"why": "blurred"}).json()["rev"]
    wait_until(lambda: made["cam-1"].runs == OLD, what="the way back")
    assert [order.rev for order in made["cam-1"].agent.of(Channel.SET_RELEASE)] == [1, 2]
    assert rev == 2
    entry = api.get("/audit").json()[0]
    assert (entry["action"], entry["detail"]) == ("return device", {"to": "metal-1", "why": "blurred"})


def test_a_device_that_nothing_ran_on_before_cannot_be_sent_back(site, cameras, controller):
    cameras(1)
    wait_until(lambda: controller.fleet.device("cam-1").release, what="its report")
    with pytest.raises(ConflictError, match="nothing ran before"):
        site.return_device("cam-1", why="so", who="ana")


def test_a_recalled_release_is_sent_back_and_cannot_be_rolled_out_again(api, cameras):
    made = cameras(3)
    until(api, start(api, devices=["cam-1"])["id"], "finished")
    answer = api.post("/releases/metal-2/recall", json={"why": "wrong optics", "send_back": True}).json()
    assert (answer["running_on"], answer["sent_back"], answer["left"]) == (["cam-1"], ["cam-1"], {})
    wait_until(lambda: made["cam-1"].runs == OLD, what="the way back")
    refused = api.post("/rollouts", json={"release": {"name": "metal", "version": "2"}})
    assert refused.status_code == 409
    assert "wrong optics" in refused.json()["error"]
    assert "wrong optics" in api.get("/releases/metal-2").json()["recalled"]


def test_a_recall_ends_a_rollout_that_runs(api, cameras):
    made = cameras(3)
    rollout = start(api, gates={"soak_s": 600})
    wait_until(lambda: made["cam-1"].runs == NEW, what="the canary")
    api.post("/releases/metal-2/recall", json={"why": "wrong optics", "send_back": True})
    until(api, rollout["id"], "reverted")
    wait_until(lambda: {d.runs for d in made.values()} == {OLD}, what="the way back")


def test_a_later_rollout_takes_the_devices_of_an_earlier_one(site, cameras):
    cameras(3)
    gates = p.Gates(soak_s=600)
    plan = p.Plan(subject=p.Subject(release=NEW), gates=gates)
    first = site.roll_out(plan, who="ana")
    second = site.roll_out(plan.model_copy(update={"gates": p.Gates()}), who="ben")
    wait_until(lambda: site.rollout(second.id).finished, timeout_s=20, what="the second")
    phases = {d.phase for d in site.rollout(first.id).devices.values()}
    assert phases <= {"superseded", "committed"}
    assert "superseded" in phases


def test_what_makes_no_sense_is_refused_and_changes_nothing(api, cameras, site):
    cameras(1)
    rollout = start(api)
    view = until(api, rollout["id"], "finished")
    path = f"/rollouts/{rollout['id']}"
    for verb, body, status in (
        ("pause", {}, 409),
        ("abort", {"why": "so"}, 409),
        ("approve", {}, 409),
        ("retry", {"device": "cam-1"}, 409),
        ("retry", {}, 422),
        ("skip", {"device": "cam-1", "why": " "}, 422),
        ("dance", {}, 422),
    ):
        assert api.post(f"{path}/{verb}", json=body).status_code == status, verb
    assert api.get(path).json()["timeline"] == view["timeline"]
    assert api.get("/rollouts/nothing").status_code == 404
    bad_gate = {"release": {"name": "metal", "version": "2"}, "gates": {"shadow": {}}}
    assert api.post("/rollouts", json=bad_gate).status_code == 422
    assert api.post("/rollouts", json=bad_gate | {"gates": {"rejects": 1}}).status_code == 422
    with pytest.raises(NotFoundError):
        site.return_rollout("nothing", why="so", who="ana")
    with pytest.raises(ConfigError):
        site.tag("cam-1", ["Not A Tag"], who="ana")


def test_disagreements_are_kept_with_their_pictures_and_judged(api, cameras, make, controller):
    made = cameras(1)
    picture = make.jpeg(5)
    agent = made["cam-1"].agent
    for number in range(3):
        agent.say(
            Channel.EVENT_DISAGREEMENT,
            Disagreement(
                id=f"d{number}",
                rollout="r1",
                incumbent=OLD,
                candidate=NEW,
                candidate_score=2.0,
                picture_sha256=make.sha256(picture),
            ),
        )
    agent.say(Channel.EVENT_PICTURE, picture)
    wait_until(lambda: len(api.get("/disagreements", params={"rollout": "r1"}).json()) == 3, what="them")
    wait_until(lambda: api.get(f"/pictures/{make.sha256(picture)}").content == picture, what="the picture")
    judged = api.put("/disagreements/d1", json={"right": "new"}).json()
    assert (judged["right"], judged["judged_by"]) == ("new", "api@127.0.0.1")
    api.put("/disagreements/d2", json={"right": "old"})
    verdicts = controller.store.shadows.verdicts("r1")
    assert (verdicts.new, verdicts.old, verdicts.open) == (1, 1, 1)
    assert api.put("/disagreements/nothing", json={"right": "new"}).status_code == 404


def test_a_rollout_goes_on_after_the_controller_was_away(cameras, site, controller, new_controller):
    made = cameras(4)
    rollout = site.roll_out(p.Plan(subject=p.Subject(release=NEW), gates=p.Gates(soak_s=1.0)), who="ana")
    wait_until(lambda: made["cam-1"].runs == NEW, what="the canary")
    controller.stop()
    again = new_controller()
    wait_until(lambda: again.site.rollout(rollout.id).finished, timeout_s=20, what="the end")
    assert {str(d.runs) for d in made.values()} == {"metal-2"}
    assert [len(d.agent.of(Channel.SET_RELEASE)) for d in made.values()][1:] == [1, 1, 1]


def test_approval_of_a_wave_is_asked_for_where_the_policy_does(site, cameras):
    made = cameras(2)
    rollout = site.roll_out(
        p.Plan(subject=p.Subject(release=NEW), policy=WirePolicy(approval=True)), who="ana"
    )
    wait_until(
        lambda: all(d.can_approve for d in site.rollout(rollout.id).devices.values()), what="both to wait"
    )
    assert "waits for a yes" in site.rollout(rollout.id).sentence
    site.approve_wave(rollout.id, who="ben")
    wait_until(lambda: {d.runs for d in made.values()} == {NEW}, what="the switch")
